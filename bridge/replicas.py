"""The boards whose copies this bridge holds: opened on first use, kept while used, the least recently used dropped."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import structlog

from boardlog.appender import Appender
from boardlog.board_state import BoardState
from boardlog.errors import BoardNotFound, StorageUnavailable
from boardlog.folding import Folder
from boardlog.follow import Follow, Following
from boardlog.ids import BoardId, Cursor
from boardlog.links import Ranges
from boardlog.remains import Remains
from bridge.errors import BoardTooDear
from bridge.intents import Intents
from bridge.replica import Replica

log = structlog.get_logger()

REPLICAS_MAX = 500
REFUSED_SECONDS = 60.0
"""How long a board that was too dear to copy is not tried again."""
REPLICAS_BYTES_MAX = 256 * 1024 * 1024
EARLIER_MAX = 50
"""Boards whose log was lost and that cannot be read just now: of so many, what their copies held is kept."""
CATCH_UP_SECONDS_MAX = 10.0
"""A request whose board cannot be brought up to date in this time is answered with 503."""


class Held:
    """A board's copy with its link to the log, and the lock under which it is changed."""

    def __init__(self, replica: Replica, follow: Follow) -> None:
        """Hold a copy; `users` counts the requests that use it."""
        self.replica = replica
        self.follow = follow
        self.lock = asyncio.Lock()
        self.intents = Intents()
        self.users = 0
        self.is_dropped = False
        """Whether this copy is followed no more: nothing may be written from it."""


class Replicas:
    """All copies of this process, bounded in number and bytes."""

    def __init__(
        self,
        following: Following,
        folder: Folder,
        appender: Appender,
        random_bits: Callable[[int], int],
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Hold copies of boards that follow their logs; what a log loses of them goes back through `appender` (G4)."""
        self._following = following
        self._folder = folder
        self._appender = appender
        self._random_bits = random_bits
        self._jitter = jitter
        self._remains: dict[BoardId, Remains] = {}
        self._earlier: dict[BoardId, BoardState] = {}
        """What copies held whose log was lost, until the next one is made."""
        self._held: OrderedDict[BoardId, Held] = OrderedDict()
        self._refused: dict[BoardId, BoardTooDear] = {}

    def __len__(self) -> int:
        """Return how many copies are held."""
        return len(self._held)

    def follows(self) -> Iterator[Follow]:
        """Iterate over the links to audit."""
        return (held.follow for held in self._held.values())

    @asynccontextmanager
    async def use(self, board: BoardId) -> AsyncIterator[Held]:
        """Yield the board's copy with everything in it that the log held at the time of the call.

        Raises BoardNotFound, StorageUnavailable, BoardTooDear. Cancel-safe.
        """
        if board in self._refused:
            raise self._refused[board]
        held = self._held.get(board) or self._open(board)
        self._held.move_to_end(board)
        held.users += 1
        try:
            await self._bring_up_to_date(held)
            yield held
        finally:
            held.users -= 1
            self._evict()

    def logged(self, board: BoardId, cursor: Cursor) -> None:
        """Hear that an entry of this bridge's stands in a board's log (appender.Appender.on_logged)."""
        held = self._held.get(board)
        if held is not None:
            held.follow.logged(cursor)

    def drop(self, board: BoardId) -> None:
        """Forget a copy: its client id is never used again (L15). Harmless if there is none."""
        held = self._held.pop(board, None)
        if held is not None:
            held.is_dropped = True
            held.follow.stop()
            held.replica.stop()

    def _forget(self, held: Held) -> None:
        """A copy that cannot be used any more goes at once: the next request makes it anew."""
        board = held.replica.board
        if self._held.get(board) is not held:
            return
        self.drop(board)
        if isinstance(held.replica.error, BoardNotFound):
            if board in self._remains:
                self._remains.pop(board).forget()
            return
        if held.replica.earlier is not None:
            self._keep_earlier(board, held.replica.earlier)
        if isinstance(held.replica.error, BoardTooDear):
            self._refuse(board, held.replica.error)

    def _keep_earlier(self, board: BoardId, state: BoardState) -> None:
        self._earlier[board] = state
        size_bytes = sum(kept.size_bytes for kept in self._earlier.values())
        while len(self._earlier) > 1 and (len(self._earlier) > EARLIER_MAX or size_bytes > REPLICAS_BYTES_MAX):
            oldest = next(iter(self._earlier))
            log.warning("lost_board_forgotten", board=oldest)
            size_bytes -= self._earlier.pop(oldest).size_bytes

    def _refuse(self, board: BoardId, error: BoardTooDear) -> None:
        """Answer at once for a while: to find out that a board is too dear costs a process many seconds (G6)."""
        if len(self._refused) < REPLICAS_MAX:
            self._refused[board] = error
            asyncio.get_running_loop().call_later(REFUSED_SECONDS, self._refused.pop, board, None)

    def close(self) -> None:
        """Forget all copies. What a log has lost of one is appended first, for nobody looks again (G4)."""
        for remains in self._remains.values():
            remains.close()
        for board in list(self._held):
            self.drop(board)

    def _open(self, board: BoardId) -> Held:
        replica = Replica(board, self._folder, self._random_bits, self._earlier.pop(board, None))
        replica.on_failed = lambda: self._forget(held)
        replica.on_lost = lambda lost: self._rebuild(board, lost)
        held = Held(replica, self._following.follow(board, replica))
        self._held[board] = held
        held.follow.start()
        return held

    def _rebuild(self, board: BoardId, lost: Sequence[tuple[bytes, Ranges]]) -> None:
        """Give the log back what a copy had. If that is gone by now a new one is made at once: it holds that again."""
        if board not in self._held:
            self._open(board)
        if lost:
            self._remains_of(board).keep(lost)

    def _remains_of(self, board: BoardId) -> Remains:
        for done in [known for known, remains in self._remains.items() if remains.are_none]:
            del self._remains[done]
        if board not in self._remains:
            self._remains[board] = Remains(
                board,
                lambda update, ranges: self._holds(board, update, ranges),
                lambda update, source: self._appender.append(board, update, source),
                asyncio.get_running_loop().call_later,
                self._jitter,
            )
        return self._remains[board]

    def _holds(self, board: BoardId, update: bytes, ranges: Ranges) -> bool | None:
        """Tell whether the log has that again. Without a copy nobody can: a later look finds one."""
        held = self._held.get(board) or self._open(board)
        return held.replica.holds(update, ranges) if held.replica.ready.is_set() else None

    async def _bring_up_to_date(self, held: Held) -> None:
        replica = held.replica
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                await replica.ready.wait()
                if replica.error is None:
                    await held.follow.catch_up()
        except TimeoutError as error:
            raise StorageUnavailable("The board's log does not answer just now: try again.") from error
        if replica.error is not None:
            raise replica.error

    def _evict(self) -> None:
        """Drop the least recently used copies that nobody uses, down to the bounds."""
        size_bytes = sum(held.replica.size_bytes for held in self._held.values())
        for board, held in list(self._held.items()):
            if len(self._held) <= REPLICAS_MAX and size_bytes <= REPLICAS_BYTES_MAX:
                return
            if held.users == 0:
                size_bytes -= held.replica.size_bytes
                self.drop(board)
