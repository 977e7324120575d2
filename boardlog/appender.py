"""The node's one writer: everything that a turn of the event loop brought for a board becomes one entry.

Order and outcome (L10): a board has at most one entry on its way; one of unknown outcome is repeated with the same
bytes before anything later; given up, everything that waits for that board fails with it, so that nothing overtakes.

Under load a board's next entry waits some milliseconds for more, and a node's next pipeline for more boards' entries
(`pacing`); of what each author of a board brought meanwhile the parts are joined (`joining`).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter, Gauge

from boardlog.entry import UPDATES_PER_ENTRY_MAX, EntryKind, Payload, pack
from boardlog.errors import BoardLogError, BoardNotFound, LogFull, NoLog, StorageUnavailable
from boardlog.ids import BoardId, Cursor
from boardlog.joining import join
from boardlog.log import BoardLog
from boardlog.pacing import BOARD_LIMITS, NODE_LIMITS, Pace
from boardlog.retry import RETRY_SECONDS_MAX, retrying
from boardlog.stream import PUBLISH_PAYLOAD_BYTES_MAX, Append, Appended
from boardlog.telemetry import METRICS
from boardlog.usual import Usual

log = structlog.get_logger()

ENTRIES = Counter("appended_entries_total", "Entries that this process logged", registry=METRICS)
UPDATES = Counter("appended_updates_total", "Updates that were handed in, and are in those entries", registry=METRICS)
REPEATED = Counter(
    "append_attempts_repeated_total", "Entries sent again, their outcome being unknown", registry=METRICS
)
WAITING = Gauge("append_waiting_bytes", "Bytes of updates that wait for Redis", registry=METRICS)
HELD = Gauge("appends_held", "1 while the logs are full and appends are held back", registry=METRICS)

ENTRY_BYTES_MAX = 256 * 1024
"""An entry takes further updates up to this size; a single larger update is an entry of its own."""
JOINED_UPDATES_MIN = 16
"""An entry of fewer updates is logged as they came: to join them takes longer than it saves."""
FORGOTTEN_AFTER_SECONDS = 1.0
"""How often the rates of boards that are idle are dropped."""
BOARDS_PER_PIPELINE_MAX = 256
WAITING_BYTES_MAX = 128 * 1024 * 1024
"""What may wait for Redis on this node; beyond it there is no room, and the readers of sockets wait (G5)."""


class Source(Protocol):
    """Who handed in updates, and is told what became of them. Both calls are synchronous and must not raise."""

    def logged(self, updates: int, appended: Appended) -> None:
        """Handle that this many more of the source's updates are in the log, in their order (G1, L11)."""

    def append_failed(self, error: BoardLogError) -> None:
        """Handle that an update was given up: its outcome is unknown, and nothing after it was appended (L10)."""


_Waiting = tuple[bytes, Source, Usual | None]


class _Queue:
    """One board's updates that wait, whether an entry is on its way, and what the next one waits for."""

    __slots__ = ("in_flight", "pace", "pause", "size_bytes", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.size_bytes = 0
        """Of what waits."""
        self.in_flight = False
        self.pace = Pace(BOARD_LIMITS)
        self.pause: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.in_flight


class _Batch(NamedTuple):
    """One entry on its way: the same bytes at every attempt."""

    append: Append
    counts: list[tuple[Source, int]]
    """How many of its updates each source handed in."""
    updates_bytes: int


_Failed = tuple[_Batch, NoLog | StorageUnavailable]


class Appender:
    """Appends for all boards of a process, in one pipeline a turn."""

    def __init__(self, board_log: BoardLog, retry_seconds_max: float = RETRY_SECONDS_MAX) -> None:
        """Append to this log; give up on an entry after `retry_seconds_max`."""
        self._log = board_log
        self._retry_seconds_max = retry_seconds_max
        self._queues: dict[BoardId, _Queue] = {}
        self._ready: dict[BoardId, None] = {}
        self._pace = Pace(NODE_LIMITS)
        self._flushing = 0
        self._forgotten_at = 0.0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._again: set[asyncio.Task[None]] = set()
        self._is_held = False
        self.waiting_bytes = 0
        self.on_logged: Callable[[BoardId, Cursor], None] = lambda _board, _cursor: None
        """Called for each entry that Redis has acknowledged; must not raise."""
        WAITING.set_function(lambda: self.waiting_bytes)

    def append(self, board: BoardId, update: bytes, source: Source, usual: Usual | None = None) -> None:
        """Take a validated update for a board. Synchronous: from here on it is appended whatever its sender does.

        With `usual`, what was read of it, it may be joined with others of the source.
        """
        queue = self._queues.get(board)
        if queue is None:
            queue = self._queues[board] = _Queue()
        size_bytes = len(update)
        queue.waiting.append((update, source, usual))
        queue.size_bytes += size_bytes
        self._idle.clear()
        self.waiting_bytes += size_bytes
        if self.waiting_bytes > WAITING_BYTES_MAX:
            self._room.clear()
        if not queue.in_flight and (queue.pause is None or queue.size_bytes >= PUBLISH_PAYLOAD_BYTES_MAX):
            self._go(board, queue)

    def hold(self, is_held: bool) -> None:
        """Hold new appends back, or let them go on; what was taken already goes on in any case (G5)."""
        self._is_held = is_held
        HELD.set(is_held)
        self._measure()

    @property
    def has_room(self) -> bool:
        """Whether more may be handed in now: the logs are not full, and not too much waits for Redis."""
        return self._room.is_set()

    async def capacity(self) -> None:
        """Wait until there is room. Cancel-safe."""
        await self._room.wait()

    async def flushed(self) -> None:
        """Wait until nothing waits any more, logged or given up; nothing is paused meanwhile. Cancel-safe."""
        self._flushing += 1
        try:
            for board, queue in self._queues.items():
                if queue.pause is not None:
                    self._go(board, queue)
            await self._idle.wait()
        finally:
            self._flushing -= 1

    async def run(self) -> None:
        """Append until cancelled. Cancel it only after `flushed`: what is on its way would get no answer."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._ready:
                    if not self._flushing and (seconds := self._pace.pause(loop.time())):
                        await asyncio.sleep(seconds)
                    boards = list(islice(self._ready, BOARDS_PER_PIPELINE_MAX))
                    now = loop.time()
                    self._pace.leave(len(boards), now)
                    failed = await self._attempt([self._take(board, now) for board in boards])
                    if failed:
                        self._start_again(failed)
                    if now - self._forgotten_at > FORGOTTEN_AFTER_SECONDS:
                        self._forget(now)
        finally:
            for task in self._again:
                task.cancel()

    def _go(self, board: BoardId, queue: _Queue) -> None:
        """Have a board's next entry leave: at once, or, of a busy board, after a pause; where it pauses, at once."""
        if board in self._ready:
            return  # a timer that comes early must not have it wait again: it would be ready while it is on its way
        if queue.pause is not None:
            queue.pause.cancel()
            queue.pause = None
        elif not queue.pace.is_free and not self._flushing and queue.size_bytes < PUBLISH_PAYLOAD_BYTES_MAX:
            loop = asyncio.get_running_loop()
            seconds = queue.pace.pause(loop.time())
            if seconds:
                queue.pause = loop.call_later(seconds, self._go, board, queue)
                return
        self._ready[board] = None
        self._wake.set()

    def _take(self, board: BoardId, now: float) -> _Batch:
        """Take the next entry's worth off a board's queue and mark it as on its way."""
        del self._ready[board]
        queue = self._queues[board]
        queue.in_flight = True
        taken, size_bytes = queue.waiting, queue.size_bytes
        if size_bytes > ENTRY_BYTES_MAX or len(taken) > UPDATES_PER_ENTRY_MAX:
            taken, size_bytes = _beginning(taken)
        queue.waiting = queue.waiting[len(taken) :]
        queue.size_bytes -= size_bytes
        queue.pace.leave(len(taken), now)
        updates, counts = _by_author(taken)
        return _Batch(Append(board, self._log.new_tag(), pack(Payload(EntryKind.UPDATES, updates))), counts, size_bytes)

    def _forget(self, now: float) -> None:
        """Drop the queues in which nothing is, once nobody needs to know their rate."""
        self._forgotten_at = now
        idle = [board for board, queue in self._queues.items() if queue.is_idle and queue.pace.is_forgotten(now)]
        for board in idle:
            del self._queues[board]

    async def _attempt(self, batches: Sequence[_Batch]) -> list[_Failed]:
        """Send batches once; settle those that are logged, return the others with their errors."""
        try:
            outcomes = await self._log.streams.append_many([batch.append for batch in batches])
        except StorageUnavailable as error:
            return [(batch, error) for batch in batches]
        failed: list[_Failed] = []
        updates = 0
        for batch, outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, Appended):
                updates += sum(count for _, count in batch.counts)
                self._settle(batch, outcome)
            else:
                failed.append((batch, outcome))
        ENTRIES.inc(len(batches) - len(failed))
        UPDATES.inc(updates)
        return failed

    def _start_again(self, failed: list[_Failed]) -> None:
        # A task of its own, so that a board without a log, or with a broken one, holds up no other board.
        task = asyncio.create_task(self._repeat(failed))
        self._again.add(task)
        task.add_done_callback(self._again.discard)

    async def _repeat(self, failed: list[_Failed]) -> None:
        """Repeat entries with the same bytes until they are logged or the retry limit ends (L10)."""
        try:
            while failed:
                # A full Redis has said that it took nothing, so nobody is left in doubt however long it lasts. To give
                # up would send every author away with 1013, to come back at once and with all that it has (G5).
                with suppress(LogFull):
                    async for attempt in retrying(self._retry_seconds_max):
                        with attempt:
                            await self._attempt_again(failed)
        except Exception as error:  # noqa: BLE001
            # Whatever it was, nobody may wait for ever: the sources are told, and their clients still hold the edits.
            log.warning("append_given_up", boards=len(failed), reason=str(error) or type(error).__name__)
            for batch, _ in failed:
                self._fail(batch, error if isinstance(error, BoardLogError) else StorageUnavailable(str(error)))

    async def _attempt_again(self, failed: list[_Failed]) -> None:
        """Give boards without a log their anchor (L1), then send all once more. `failed` keeps what is still open."""
        for item in list(failed):
            batch, error = item
            if isinstance(error, NoLog):
                try:
                    with suppress(StorageUnavailable):  # the other boards are sent all the same
                        await self._log.birth(batch.append.board)
                except BoardNotFound as gone:
                    failed.remove(item)
                    self._fail(batch, gone)
        REPEATED.inc(len(failed))
        failed[:] = await self._attempt([batch for batch, _ in failed])
        # A cluster's node may be full while another is dead: each kind has its own patience.
        full = [one for one in failed if isinstance(one[1], LogFull)]
        if 0 < len(full) < len(failed):
            failed[:] = [one for one in failed if not isinstance(one[1], LogFull)]
            self._start_again(full)
        if failed:
            error = failed[0][1]
            raise error if isinstance(error, StorageUnavailable) else StorageUnavailable(str(error))

    def _settle(self, batch: _Batch, appended: Appended) -> None:
        self._landed(batch)
        self.on_logged(batch.append.board, appended.cursor)
        for source, count in batch.counts:
            source.logged(count, appended)

    def _landed(self, batch: _Batch) -> None:
        """Account for an entry that is no longer on its way, and let the board's next one go."""
        board = batch.append.board
        queue = self._queues[board]
        queue.in_flight = False
        self._release(batch.updates_bytes)
        if queue.waiting:
            self._go(board, queue)
        elif not self.waiting_bytes:
            self._idle.set()

    def _release(self, freed_bytes: int) -> None:
        self.waiting_bytes -= freed_bytes
        self._measure()

    def _measure(self) -> None:
        if self._is_held or self.waiting_bytes > WAITING_BYTES_MAX:
            self._room.clear()
        else:
            self._room.set()

    def _fail(self, batch: _Batch, error: BoardLogError) -> None:
        """Give up an entry, and with it all that waits behind it: a socket's later update must not overtake (L10)."""
        queue = self._queues[batch.append.board]
        waiting, queue.waiting = queue.waiting, []
        queue.size_bytes = 0
        self._release(sum(len(update) for update, _, _ in waiting))
        self._landed(batch)
        for source in dict.fromkeys([*(source for source, _ in batch.counts), *(source for _, source, _ in waiting)]):
            source.append_failed(error)


def _beginning(waiting: list[_Waiting]) -> tuple[list[_Waiting], int]:
    """Return what goes into one entry of all that waits, at least one update, and its bytes."""
    size_bytes = count = 0
    for update, _, _ in waiting[:UPDATES_PER_ENTRY_MAX]:
        if count and size_bytes + len(update) > ENTRY_BYTES_MAX:
            break
        size_bytes += len(update)
        count += 1
    return waiting[:count], size_bytes


def _by_author(taken: list[_Waiting]) -> tuple[tuple[bytes, ...], list[tuple[Source, int]]]:
    """Return an entry's updates, and how many each author handed in.

    Of many, those of one author stand together, in their order, joined as far as that can be: no author can have seen
    another's, for they are not logged yet (G1). Nobody's are joined with anybody else's: where a worker cannot fold an
    update, nobody else's edit is in it (G6).
    """
    if len(taken) == 1:
        ((update, source, _),) = taken
        return (update,), [(source, 1)]
    authors: dict[Source, list[tuple[bytes, Usual | None]]] = {}
    for update, source, usual in taken:
        authors.setdefault(source, []).append((update, usual))
    counts = [(source, len(parts)) for source, parts in authors.items()]
    if len(taken) < JOINED_UPDATES_MIN:
        return tuple(update for update, _, _ in taken), counts
    return tuple(update for parts in authors.values() for update in join(parts)), counts
