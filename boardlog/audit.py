"""The audit (L4): does the entry at each cursor still stand, and is nothing behind it that we were not told of?

A lost publish, a lost log or a failover to a lagging replica shows here even if nobody writes.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest

import structlog

from boardlog.errors import StorageUnavailable
from boardlog.follow import Follow
from boardlog.ids import BoardId, Cursor
from boardlog.stream import Streams

log = structlog.get_logger()

AUDIT_SECONDS = 10.0
"""A board in use is looked at when nothing has proven its cursor for this long. A publish that links does prove it: at
its moment the predecessor was the head, and the entry became it."""
STEPS = 10
"""In AUDIT_SECONDS: so many times it is seen which boards it is time for."""
BOARDS_PER_AUDIT = 100
"""Boards asked about in one script: an audit of thousands at once would stall Redis."""


async def audit_forever(follows: Callable[[], Iterable[Follow]], streams: Streams) -> None:
    """Audit what `follows` returns, spread over AUDIT_SECONDS, until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(AUDIT_SECONDS / STEPS)
        turn = next_turn(list(follows()), clock())
        for start in range(0, len(turn), BOARDS_PER_AUDIT):
            await audit(turn[start : start + BOARDS_PER_AUDIT], streams)


def next_turn(follows: Sequence[Follow], now: float) -> list[Follow]:
    """Return those that it is time for, the longest unproven first; should it be very many, a step's share of all."""
    unproven = [follow for follow in follows if follow.cursor is not None and follow.proven_at <= now - AUDIT_SECONDS]
    return nsmallest(math.ceil(len(follows) / STEPS), unproven, key=lambda follow: follow.proven_at)


async def audit(follows: Sequence[Follow], streams: Streams) -> None:
    """Audit these boards once. An unreachable Redis is left to those who need it."""
    asked: list[tuple[BoardId, Cursor]] = []
    asking: list[Follow] = []
    for follow in follows:
        if follow.cursor is not None:
            asked.append((follow.board, follow.cursor))
            asking.append(follow)
    try:
        found = await streams.audit(asked)
    except StorageUnavailable as error:
        log.warning("audit_failed", reason=str(error))
        return
    for follow, (_, cursor), head in zip(asking, asked, found, strict=True):
        follow.audited(cursor, head)
