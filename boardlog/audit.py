"""The audit (L4): does the entry at each cursor still stand, and is nothing behind it that we were not told of?

A lost publish, a lost log or a failover to a lagging replica shows here even if nobody writes.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from boardlog.errors import StorageUnavailable
from boardlog.follow import Follow
from boardlog.ids import BoardId, Cursor
from boardlog.stream import Streams

log = structlog.get_logger()

AUDIT_SECONDS = 10.0
"""A board in use is asked about when nothing has proven its cursor for about this long, at the latest after 13 s. A
publish that links does prove it: at its moment the predecessor was the head, and the entry became it."""
LOOK_SECONDS = AUDIT_SECONDS / 4
"""So often each board is looked at. One that is quiet is asked about at every fourth look."""
STEPS = 5
"""In LOOK_SECONDS: at each a share of the boards is looked at, for thousands at once would hold up the loop."""
BOARDS_PER_AUDIT = 100
"""Boards asked about in one script: an audit of thousands at once would stall Redis."""
FAILURES_MAX = 2
"""After so many a step is left: Redis is away then, and would be asked in vain, each time for as long as it hangs. One
may be a single board's fault, a damaged key's, which must not keep others from being asked about."""


async def audit_forever(follows: Callable[[], Iterable[Follow]], streams: Streams) -> None:
    """Look at what `follows` returns, a share of it a step, and audit what is unproven, until cancelled."""
    while True:
        await _look_once(list(follows()), streams)


async def _look_once(everyone: Sequence[Follow], streams: Streams) -> None:
    clock = asyncio.get_running_loop().time
    for step in range(STEPS):
        await asyncio.sleep(LOOK_SECONDS / STEPS)
        asked = unproven(everyone[step::STEPS], clock())
        failures = 0
        for start in range(0, len(asked), BOARDS_PER_AUDIT):
            failures += not await audit(asked[start : start + BOARDS_PER_AUDIT], streams)
            if failures == FAILURES_MAX:
                break


def unproven(follows: Sequence[Follow], now: float) -> list[Follow]:
    """Return those that are to be asked about: half a look early, for looks come a little late."""
    proven_before = now - AUDIT_SECONDS + LOOK_SECONDS / 2
    return [follow for follow in follows if follow.proven_at <= proven_before and follow.cursor is not None]


async def audit(follows: Sequence[Follow], streams: Streams) -> bool:
    """Audit these boards once; return whether Redis told anything. An unreachable one is left to those who need it."""
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
        return False
    for follow, (_, cursor), head in zip(asking, asked, found, strict=True):
        follow.audited(cursor, head)
    return True
