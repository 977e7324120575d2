"""Board -> room: opens a room for the first joiner, keeps it while it has members and a little longer, closes it."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator

import structlog

from boardlog.appender import Appender
from boardlog.due import Due
from boardlog.errors import BoardLogError, StorageUnavailable
from boardlog.folding import Folder
from boardlog.follow import Follow, Following
from boardlog.ids import BoardId, Cursor
from boardlog.publisher import Publisher
from boardlog.remains import Remains
from relay.presence import Timer
from relay.room import Room

log = structlog.get_logger()

LINGER_SECONDS = 3.0
"""An empty room stays this long: a page that is reloaded finds it open."""
FOLD_AGAIN_SECONDS = 60.0
"""When a state is folded again whose fold has failed."""
FOLD_WAIT_SECONDS_MAX = 5.0
"""Joiners wait this long for a fold; then they get the state as it is. Another board's fold may hang before theirs."""


class _Open:
    """A room with its link to the log, and the joiners that wait for it."""

    def __init__(self, room: Room, follow: Follow) -> None:
        self.room = room
        self.follow = follow
        self.ready = asyncio.Event()
        self.joining = 0
        self.folding: asyncio.Task[None] | None = None
        self.can_fold = True
        self.linger: Timer | None = None

    def let_fold(self) -> None:
        """Fold again at the next occasion."""
        self.can_fold = True


class Hub:
    """All rooms of this node."""

    def __init__(
        self,
        node: str,
        following: Following,
        due: Due,
        folder: Folder,
        publisher: Publisher,
        appender: Appender,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Open rooms that follow their logs; what they hold and a log has lost goes through `appender`.

        `node`: see Presence.
        """
        self._node = node
        self._following = following
        self._tail = following.tail
        self._keys = following.keys
        self._due = due
        self._folder = folder
        self._publisher = publisher
        self._appender = appender
        self._jitter = jitter
        self._rooms: dict[BoardId, _Open] = {}
        self._background: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Return how many rooms are open."""
        return len(self._rooms)

    def follows(self) -> Iterator[Follow]:
        """Iterate over the links to audit."""
        return (opened.follow for opened in self._rooms.values())

    async def join(self, board: BoardId) -> Room:
        """Return the board's room, loaded; concurrent joins share one load, which outlives the joiner that began it.

        Raises BoardNotFound, StorageUnavailable. Cancel-safe. Who gets a room must `leave` it.
        """
        opened = self._rooms.get(board) or self._open(board)
        if opened.linger is not None:
            opened.linger.cancel()
            opened.linger = None
        opened.joining += 1
        try:
            await opened.ready.wait()
        except BaseException:
            self.leave(opened.room)
            raise
        if opened.room.error is not None:
            raise opened.room.error
        return opened.room

    def leave(self, room: Room) -> None:
        """Undo one `join`; the last one to leave lets the room linger, then close. Synchronous."""
        opened = self._rooms.get(room.board)
        if opened is None or opened.room is not room:
            return
        opened.joining -= 1
        if opened.joining == 0:
            wait = 0.0 if room.error is not None else LINGER_SECONDS
            opened.linger = asyncio.get_running_loop().call_later(wait, self._lingered, opened)

    def logged(self, board: BoardId, cursor: Cursor) -> None:
        """Hear that an entry of this node's stands in a board's log (appender.Appender.on_logged)."""
        opened = self._rooms.get(board)
        if opened is not None:
            opened.follow.logged(cursor)

    async def close(self) -> None:
        """Close all rooms at once, and wait until their boards are marked to be compacted soon.

        Idempotent. Cancelled, it gives up the marking, which is only a hint (L9).
        """
        for opened in list(self._rooms.values()):
            self._close(opened)
            if opened.folding is not None:
                opened.folding.cancel()  # it was for those who join
        await asyncio.gather(*self._background, return_exceptions=True)

    def _open(self, board: BoardId) -> _Open:
        room = Room(board, self._node, _RoomShell(board, self._publisher, self._appender, self._jitter))
        opened = _Open(room, self._following.follow(board, room))
        self._rooms[board] = opened
        room.on_change = lambda: self._changed(opened)
        opened.follow.start()
        self._tail.listen(self._keys.presence(board), room.presence)
        return opened

    def _changed(self, opened: _Open) -> None:
        """After a load, a failure or much news: fold a long state in another process, let joiners in."""
        room = opened.room
        if room.error is not None:
            # Gone from the hub at once: the next joiner tries anew.
            self._close(opened)
            opened.ready.set()
        elif room.state is not None and room.state.is_long and opened.can_fold:
            if opened.folding is None:
                opened.folding = self._start(self._fold(opened))
                asyncio.get_running_loop().call_later(FOLD_WAIT_SECONDS_MAX, opened.ready.set)
        else:
            opened.ready.set()

    async def _fold(self, opened: _Open) -> None:
        """Fold what the log brought into the base; joiners of a fresh room wait for it, members notice nothing."""
        state = opened.room.state
        try:
            while state is not None and state.is_long and self._rooms.get(opened.room.board) is opened:
                base, updates = state.parts()
                folded = await self._folder.fold(base, updates)
                state.folded(folded.state, len(updates))
                state = opened.room.state
        except BoardLogError as error:
            # The state is right without it. Not again at every entry that comes: this board may need an operator.
            log.warning("fold_failed", board=opened.room.board, reason=str(error))
            opened.can_fold = False
            asyncio.get_running_loop().call_later(FOLD_AGAIN_SECONDS, opened.let_fold)
        finally:
            opened.folding = None
            opened.ready.set()

    def _lingered(self, opened: _Open) -> None:
        if opened.room.error is None and opened.room.holds_what_is_lost:
            opened.linger = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._lingered, opened)
        else:
            self._close(opened)

    def _close(self, opened: _Open) -> None:
        room = opened.room
        if self._rooms.get(room.board) is not opened:
            return
        del self._rooms[room.board]
        opened.follow.stop()
        self._tail.leave(self._keys.presence(room.board), room.presence)
        room.close()
        if room.state is not None and room.state.has_news:
            self._start(self._hasten(room.board))

    async def _hasten(self, board: BoardId) -> None:
        """The last client has left: compact soon. Only a hint: the mark of each append is there already (L9)."""
        try:
            await self._due.mark([board], 0)
        except StorageUnavailable as error:
            log.warning("hasten_failed", board=board, reason=str(error))

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


class _RoomShell:
    """The world as a room sees it (room.Shell)."""

    def __init__(
        self, board: BoardId, publisher: Publisher, appender: Appender, jitter: Callable[[float, float], float]
    ) -> None:
        self.jitter = jitter
        self._board = board
        self._publisher = publisher
        self._appender = appender
        self._loop = asyncio.get_running_loop()
        self.call_soon = self._loop.call_soon

    def publish(self, message: bytes) -> None:
        self._publisher.publish(self._board, message)

    def append(self, update: bytes, source: Remains) -> None:
        self._appender.append(self._board, update, source)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self._loop.call_later(seconds, callback)

    def now(self) -> float:
        return self._loop.time()
