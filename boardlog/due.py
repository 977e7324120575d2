"""Which boards wait for compaction: a sorted set of due times with leases, all on Redis' clock (L9)."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from boardlog.errors import StorageUnavailable
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.redis import Redis, unavailable
from boardlog.scripts import Scripts

DUE_AFTER_MS = 30_000
"""A changed board is compacted within about this time."""
MARK_PAUSE_SECONDS = 1.0
"""Between two marks of a process: what changes meanwhile is marked by the second, and so due that much later."""


class Claim(NamedTuple):
    """A board held until its lease ends. The token only saves work, the fence is in the store (L7)."""

    board: BoardId
    token: int


class Due(Protocol):
    """The work queue of compaction. A hint: it may lose marks, and several workers may hold one board."""

    async def mark(self, boards: Sequence[BoardId], delay_ms: int) -> None:
        """Make boards due after a delay, or earlier if they are already; 0 for one whose last client has left."""

    async def claim(self, lease_ms: int) -> Claim | None:
        """Take the first due board; None if none is due."""

    async def release(self, claim: Claim, again_after_ms: int | None) -> bool:
        """End a claim; the board leaves the queue, or stays in it. False if another worker holds it by now."""

    async def waiting(self) -> int:
        """Return how many boards are marked."""


@dataclass(frozen=True, slots=True)
class RedisDue:
    """The queue on a Redis or Valkey server."""

    redis: Redis
    scripts: Scripts
    keys: Keys

    async def mark(self, boards: Sequence[BoardId], delay_ms: int) -> None:
        """See Due."""
        await self.scripts.run(self.scripts.mark_due, [self.keys.due], [str(delay_ms), *boards])

    async def claim(self, lease_ms: int) -> Claim | None:
        """See Due."""
        keys = [self.keys.due, self.keys.leases, self.keys.token]
        reply = await self.scripts.run(self.scripts.claim, keys, [str(lease_ms)])
        return Claim(BoardId(reply[0].decode("ascii")), int(reply[1])) if reply else None

    async def release(self, claim: Claim, again_after_ms: int | None) -> bool:
        """See Due."""
        delay = -1 if again_after_ms is None else again_after_ms
        args = [claim.board, str(claim.token), str(delay)]
        return bool(await self.scripts.run(self.scripts.release, [self.keys.due, self.keys.leases], args))

    async def waiting(self) -> int:
        """See Due."""
        with unavailable():
            return int(await self.redis.zcard(self.keys.due))


class Marking:
    """Marks changed boards, at once or after a pause since the last mark.

    Every change is followed by a mark, whatever was marked or claimed before: one that was left out because the board
    was due anyway would be missing once a worker had released it. Nobody waits for a mark, and the board's entry is in
    the log before it: a worker that claims the board because of it finds the entry.
    """

    def __init__(self, due: Due) -> None:
        """Mark in this queue."""
        self._due = due
        self._changed: set[BoardId] = set()
        self._marking: asyncio.Task[None] | None = None
        self._pause: asyncio.TimerHandle | None = None

    def changed(self, boards: Iterable[BoardId]) -> None:
        """Have boards marked. Synchronous."""
        self._changed.update(boards)
        self._mark()

    async def flushed(self) -> None:
        """Mark at once what is still to be marked, and return when that was done or refused. Cancel-safe."""
        await self._settled()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._mark()
        await self._settled()

    async def _settled(self) -> None:
        while self._marking is not None:
            await asyncio.wait([self._marking])

    def _mark(self) -> None:
        if self._changed and self._marking is None and self._pause is None:
            self._marking = asyncio.create_task(self._mark_all())

    async def _mark_all(self) -> None:
        boards, self._changed = self._changed, set()
        try:
            await self._due.mark(list(boards), DUE_AFTER_MS)
        except StorageUnavailable:
            self._changed |= boards  # again after the pause
        finally:
            self._marking = None
            self._pause = asyncio.get_running_loop().call_later(MARK_PAUSE_SECONDS, self._pause_is_over)

    def _pause_is_over(self) -> None:
        self._pause = None
        self._mark()
