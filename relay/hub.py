"""Board -> room: opens a room for the first joiner, keeps it while it has members and a little longer, closes it."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator

import structlog

from boardlog.appender import Appender
from boardlog.board_state import COVER_UPDATES_MAX, READ_HERE_BYTES_MAX, BoardState
from boardlog.due import Due
from boardlog.errors import BoardLogError, StorageUnavailable
from boardlog.folding import Folder
from boardlog.follow import Follow, Following
from boardlog.ids import BoardId, Cursor
from boardlog.publisher import Publisher
from boardlog.remains import Remains
from relay.presence import Timer
from relay.room import Room
from relay.ticks import Ticks

log = structlog.get_logger()

LINGER_SECONDS = 3.0
"""An empty room stays this long: a page that is reloaded finds it open."""
FOLD_AGAIN_SECONDS = 60.0
"""When a state is folded again whose fold has failed."""
FOLD_WAIT_SECONDS_MAX = 5.0
"""Joiners wait this long for a fold; then they get the state as it is. Another board's fold may hang before theirs."""
FOLD_PAUSE_SECONDS = 10.0
"""While nobody joins, a state is folded when it has been long for this time, at most."""
FOLD_PAUSE_FACTOR = 10.0
"""Or for so many times what its last fold took, where that is more."""


class _Open:
    """A room with its link to the log, and the joiners that wait for it."""

    def __init__(self, room: Room, follow: Follow) -> None:
        self.room = room
        self.follow = follow
        self.ready = asyncio.Event()
        self.joining = 0
        self.folding: asyncio.Task[None] | None = None
        self.fold_timer: Timer | None = None
        self.fold_pause_seconds = FOLD_PAUSE_SECONDS
        self.can_fold = True
        self.linger: Timer | None = None

    def let_fold(self) -> None:
        """Fold again at the next occasion."""
        self.can_fold = True

    def stop_timer(self) -> None:
        """Let no fold begin by itself."""
        if self.fold_timer is not None:
            self.fold_timer.cancel()
            self.fold_timer = None


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
        self._ticks = Ticks()
        self._reading = asyncio.Lock()
        """Held by who reads a board's updates, a piece a turn of the loop."""

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
            if opened.room.state is not None:
                await self._prepare(opened, opened.room.state)
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
        shell = _RoomShell(board, self._publisher, self._appender, self._folder, self._ticks, self._jitter)
        room = Room(board, self._node, shell)
        opened = _Open(room, self._following.follow(board, room))
        self._rooms[board] = opened
        room.on_change = lambda: self._changed(opened)
        opened.follow.start()
        self._tail.listen(self._keys.presence(board), room.presence)
        return opened

    async def _prepare(self, opened: _Open, state: BoardState) -> None:
        """Have a long state folded for those who join next; read what this one will need, a piece at a time."""
        if state.is_long:
            self._start_fold(opened)
        if state.uncovered > COVER_UPDATES_MAX:
            async with self._reading:
                while state.uncovered > COVER_UPDATES_MAX and state is opened.room.state:
                    try:
                        state.cover_some()
                    except ValueError:
                        return  # whoever attaches meets it again, and says so
                    await asyncio.sleep(0)

    def _changed(self, opened: _Open) -> None:
        """After a load, a failure or much news: fold a long state in another process, let joiners in."""
        room, state = opened.room, opened.room.state
        if room.error is not None:
            # Gone from the hub at once: the next joiner tries anew.
            self._close(opened)
            opened.ready.set()
        elif state is None or opened.folding is not None:
            pass
        elif opened.ready.is_set():
            if state.is_heavy:
                self._start_fold(opened)
            elif state.is_long and opened.fold_timer is None:
                opened.fold_timer = asyncio.get_running_loop().call_later(
                    opened.fold_pause_seconds, self._start_fold, opened
                )
        elif (state.is_heavy and opened.can_fold) or state.is_unread:
            self._start_fold(opened)
            asyncio.get_running_loop().call_later(FOLD_WAIT_SECONDS_MAX, opened.ready.set)
        else:
            opened.ready.set()

    def _start_fold(self, opened: _Open) -> None:
        opened.stop_timer()
        if opened.folding is None and opened.can_fold and self._rooms.get(opened.room.board) is opened:
            opened.folding = self._start(self._fold(opened))

    async def _fold(self, opened: _Open) -> None:
        """Fold what the log brought into the base, and read that; joiners of a fresh room wait for what is dear."""
        state = opened.room.state
        began = asyncio.get_running_loop().time()
        try:
            if state is not None and state.is_unread and not state.is_heavy:
                state.know(await self._folder.read(state.parts()[0]))
                opened.ready.set()
            if state is not None and state.is_long:
                base, updates = state.parts()
                folded = await self._folder.fold(base, updates)
                is_small = len(folded.state) <= READ_HERE_BYTES_MAX
                read = None if is_small else await self._folder.read(folded.state)
                state.folded(folded.state, len(updates), rejected=folded.rejected, read=read)
        except BoardLogError as error:
            # The state is right without it. Not again at every entry that comes: this board may need an operator.
            log.warning("fold_failed", board=opened.room.board, reason=str(error))
            opened.can_fold = False
            asyncio.get_running_loop().call_later(FOLD_AGAIN_SECONDS, opened.let_fold)
        finally:
            took = asyncio.get_running_loop().time() - began
            opened.fold_pause_seconds = max(FOLD_PAUSE_SECONDS, FOLD_PAUSE_FACTOR * took)
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
        opened.stop_timer()
        opened.follow.stop()
        self._tail.leave(self._keys.presence(room.board), room.presence)
        room.close()
        room.on_change = _nothing
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


def _nothing() -> None:
    pass


class _RoomShell:
    """The world as a room sees it (room.Shell)."""

    def __init__(
        self,
        board: BoardId,
        publisher: Publisher,
        appender: Appender,
        folder: Folder,
        ticks: Ticks,
        jitter: Callable[[float, float], float],
    ) -> None:
        self.jitter = jitter
        self.call_at = ticks.at
        self._board = board
        self._publisher = publisher
        self._appender = appender
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self.call_soon = self._loop.call_soon

    async def difference(self, state: bytes, state_vector: bytes) -> bytes:
        return await self._folder.difference(state, state_vector)

    def publish(self, message: bytes) -> None:
        self._publisher.publish(self._board, message)

    def append(self, update: bytes, source: Remains) -> None:
        self._appender.append(self._board, update, source)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        return self._loop.call_later(seconds, callback)

    def now(self) -> float:
        return self._loop.time()
