"""Which boards wait for compaction: a sorted set of due times with leases, all on Redis' clock (L9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.redis import Redis, unavailable
from boardlog.scripts import Scripts


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
