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
"""Every board in use is looked at about this often."""
BOARDS_PER_AUDIT = 100
"""Boards asked about in one pipeline: an audit of thousands at once would stall Redis."""


async def audit_forever(follows: Callable[[], Iterable[Follow]], streams: Streams) -> None:
    """Audit what `follows` returns, a chunk at a time, spread over AUDIT_SECONDS, until cancelled."""
    while True:
        boards = list(follows())
        chunks = [boards[start : start + BOARDS_PER_AUDIT] for start in range(0, len(boards), BOARDS_PER_AUDIT)]
        for chunk in chunks:
            await audit(chunk, streams)
            await asyncio.sleep(AUDIT_SECONDS / len(chunks))
        if not chunks:
            await asyncio.sleep(AUDIT_SECONDS)


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
