"""Following one board: every entry, in order, without a gap (G2), whatever happens to subscription, stream or server.

A publish is applied only if its link is our cursor; one that is already in what was read is dropped; anything else is
repaired by reading from the cursor, whose own entry must still stand in the stream; else the board is loaded anew (L3).
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from prometheus_client import Counter

from boardlog.entry import Entry, EntryKind, Publish, parse_publish
from boardlog.errors import BoardLogError, InvalidEntry, StorageUnavailable
from boardlog.ids import BoardId, Cursor
from boardlog.keys import Keys
from boardlog.log import BoardLog, Loaded, decode
from boardlog.retry import RETRY_SECONDS_MAX, retrying, retrying_forever
from boardlog.stream import RawEntry
from boardlog.tail import Tail
from boardlog.telemetry import METRICS

log = structlog.get_logger()

REPAIRS = Counter("log_repairs_total", "Readings from a cursor because a link did not fit (L3)", registry=METRICS)
RELOADS = Counter("log_reloads_total", "Boards loaded again because their history was lost (L5)", registry=METRICS)

HELD_PUBLISHES_MAX = 1000
"""Publishes kept while a load or repair is under way; beyond it they are forgotten and read from the stream."""
RECENT_CURSORS_MAX = 4096
RECENT_MS = 30_000
"""How long an applied entry is known for one, by the ids, and up to twice as long: its publish, or the answer to its
append, may come that much later. Of very many entries the older ones are forgotten sooner: to meet one again costs a
reading."""
AWAITED_CURSORS_MAX = 4096
"""Entries of this process' own that Redis has acknowledged and the log has not brought yet; milliseconds' worth."""


class Reader(Protocol):
    """Whom a board's state and entries are for. All calls are synchronous and complete when they return."""

    def loaded(self, loaded: Loaded) -> None:
        """Take the whole state: at first, and again whenever the log had to be read anew (L5)."""

    def entries(self, entries: Sequence[Entry]) -> None:
        """Take what follows."""

    def failed(self, error: BoardLogError) -> None:
        """Handle that the board cannot be loaded, or is gone. Nothing follows."""


class Follow:
    """One board's link to its log. Also the tail's listener for that board's channel."""

    def __init__(self, board: BoardId, board_log: BoardLog, tail: Tail, keys: Keys, reader: Reader) -> None:
        """Prepare to follow; `start` begins."""
        self.board = board
        self.cursor: Cursor | None = None
        """The last entry handed to the reader; None until the first load."""
        self.proven_at = -math.inf
        """When this loop's clock said so, the entry at the cursor stood in the log, and nothing was behind it (L4)."""
        self._log = board_log
        self._tail = tail
        self._channel = keys.entries(board)
        self._reader = reader
        self._in_stream = False
        self._reload_wanted = True
        self._repair_wanted = False
        self._held: list[Publish] = []
        self._recent: set[Cursor] = set()
        self._recent_before: set[Cursor] = set()
        self._recent_since_ms = 0
        self._awaited: set[Cursor] = set()
        """What this process logged or heard of, and has not seen yet."""
        self._busy = True
        self._is_over = False
        self._settled: asyncio.Future[None] | None = None
        """Made for who waits until nothing is to be read any more."""
        self._task: asyncio.Task[None] | None = None
        """Loads and repairs; none while publishes are applied as they come: thousands of boards are quiet."""
        self._patience: asyncio.TimerHandle | None = None
        self._clock = asyncio.get_running_loop().time

    def start(self) -> None:
        """Subscribe; the first load follows the acknowledgement, so that nothing falls between them (L2)."""
        self._patience = asyncio.get_running_loop().call_later(RETRY_SECONDS_MAX, self._give_up)
        self._tail.listen(self._channel, self)

    def stop(self) -> None:
        """Stop following: nothing reaches the reader from now on. Synchronous; harmless if repeated."""
        self._tail.leave(self._channel, self)
        self._is_over = True
        if self._patience is not None:
            self._patience.cancel()
        if self._task is not None:
            self._task.cancel()

    async def catch_up(self) -> None:
        """Return when the reader has whatever the log held at the time of the call. Cancel-safe.

        It waits for as long as Redis is away: bound it with a timeout.
        """
        self._repair()
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._settled)

    def subscribed(self) -> None:
        """See tail.Listener: what was published before now may have been missed."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._repair()

    def received(self, message: bytes) -> None:
        """See tail.Listener: apply what links to our cursor; repair whatever else."""
        try:
            self._receive(message)
        except Exception:
            # A fault of one board's reader must not end the connection that serves them all.
            log.exception("follow_failed", board=self.board)
            self.stop()
            self._reader.failed(StorageUnavailable("The board's log could not be read: try again."))

    def _receive(self, message: bytes) -> None:
        try:
            publish = parse_publish(message)
        except InvalidEntry as error:
            log.warning("publish_unreadable", board=self.board, reason=str(error))
            self._repair()
            return
        if not self._busy:
            self._accept(publish)
        elif len(self._held) < HELD_PUBLISHES_MAX:
            self._held.append(publish)
        else:
            self._held.clear()
            self._repair()

    def logged(self, cursor: Cursor) -> None:
        """Hear that Redis acknowledged an entry of this process' own, which the log has brought or is about to bring.

        One that never comes was lost by a failover that kept our cursor's entry: no link shows that (G4).
        """
        if self.cursor is not None and not self._is_recent(cursor) and len(self._awaited) < AWAITED_CURSORS_MAX:
            self._awaited.add(cursor)

    def audited(self, asked: Cursor, found: Cursor | None) -> None:
        """Take an audit's answer for the position asked about (L4): None if its entry is gone, else the head."""
        if self._busy or asked != self.cursor:
            return
        if found == asked:
            if self._awaited:  # logged since the audit asked, or lost: a read tells
                self._repair()
            else:
                self.proven_at = self._clock()
            return
        if found is None and not self._in_stream:
            self.proven_at = self._clock()  # a board without a log has none still: it must not keep others waiting
            return
        if found is None:
            log.warning("log_lost", board=self.board, cursor=str(asked))
            self._reload_wanted = True
        self._repair()

    def _accept(self, publish: Publish) -> None:
        if publish.previous == self.cursor and publish.payload is not None:
            self._apply([RawEntry(publish.cursor, publish.payload)])
        elif not self._is_recent(publish.cursor):
            if self.cursor is not None and publish.cursor.id > self.cursor.id:
                self.logged(publish.cursor)
            self._repair()

    def _repair(self) -> None:
        self._repair_wanted = True
        self._busy = True
        if self._task is None and self._patience is None and not self._is_over:
            self._task = asyncio.create_task(self._work(), name=f"follow {self.board}")

    def _give_up(self) -> None:
        self._is_over = True
        self._reader.failed(StorageUnavailable("Redis did not accept a subscription: try again."))

    def _apply(self, raw: Sequence[RawEntry]) -> None:
        """Hand entries over, then move the cursor; a rebase says that history was lost: load again (L6)."""
        entries, _ = decode(raw)
        if EntryKind.REBASE in [entry.payload.kind for entry in entries]:
            log.warning("log_rebased", board=self.board)
            self._reload_wanted = True
            self._repair()
            return
        self._reader.entries(entries)
        self.cursor = raw[-1].cursor
        self._in_stream = True
        self.proven_at = self._clock()
        self._remember([entry.cursor for entry in raw])
        if self._awaited:
            self._miss([cursor for cursor in self._awaited if cursor.id <= self.cursor.id])

    def _miss(self, lost: Sequence[Cursor]) -> None:
        """Load again if entries were acknowledged to us that the log has passed over: that asks the editors (L5)."""
        for cursor in lost:
            log.warning("log_lost", board=self.board, cursor=str(cursor))
            self._awaited.discard(cursor)
        if lost:
            self._reload_wanted = True
            self._repair()

    def _remember(self, cursors: Sequence[Cursor]) -> None:
        """Know entries for applied ones, for a while: of thousands of boards each needs a few only."""
        now_ms = cursors[-1].id.ms
        if now_ms - self._recent_since_ms > RECENT_MS or len(self._recent) >= RECENT_CURSORS_MAX // 2:
            self._recent_before, self._recent, self._recent_since_ms = self._recent, set(), now_ms
        self._recent.update(cursors)
        if self._awaited:
            self._awaited.difference_update(cursors)

    def _is_recent(self, cursor: Cursor) -> bool:
        return cursor in self._recent or cursor in self._recent_before

    async def _work(self) -> None:
        """Load and repair as long as something asks for it."""
        try:
            while self._repair_wanted or self._reload_wanted:
                await self._catch_up()
                self._settle_held()
            # No await since the last publish was settled: from here on the tail's calls apply them directly.
            self._busy = False
            self._task = None
            if self._settled is not None:
                self._settled.set_result(None)
                self._settled = None
        except BoardLogError as error:
            self._reader.failed(error)
        except asyncio.CancelledError:
            raise
        except BaseException:
            # Whatever it was, and pycrdt's panics derive from BaseException: a reader must never be deaf unawares.
            log.exception("follow_failed", board=self.board)
            self._reader.failed(StorageUnavailable("The board's log could not be read: try again."))
            raise

    async def _catch_up(self) -> None:
        """Repair from the cursor, or load. A first load gives up after a while; a board in use goes on trying (G5)."""
        self._repair_wanted = False
        reload, self._reload_wanted = self._reload_wanted, False
        is_first = self.cursor is None
        async for attempt in retrying() if is_first else retrying_forever(StorageUnavailable):
            with attempt:
                reload = reload or not await self._repaired()
                if reload:
                    if self.cursor is not None:
                        RELOADS.inc()
                    self._awaited.clear()  # what the load does not bring is lost: once is enough
                    self._take(await self._log.load(self.board))

    async def _repaired(self) -> bool:
        """Read what follows the cursor; False if its entry is gone, so that only a load helps (L3)."""
        if self.cursor is None:
            return False
        REPAIRS.inc()
        awaited = set(self._awaited)  # before the read, which has to bring them
        streams = self._log.streams
        raw = await streams.read_from(self.board, self.cursor)
        if raw is None and not self._in_stream:
            # A board without a log has nothing to tell. One that was given its log between the two reads has lost
            # nothing either: its anchor is our cursor (L1).
            is_born = await streams.head(self.board) is not None
            raw = await streams.read_from(self.board, self.cursor) if is_born else []
        if raw is None:
            return False
        if raw:
            self._apply(raw)
        self._miss([cursor for cursor in awaited if cursor in self._awaited])
        return True

    def _take(self, loaded: Loaded) -> None:
        self._reader.loaded(loaded)  # before the cursor moves: what it stands for must have reached the members (L5)
        self.cursor = loaded.cursor
        self._in_stream = loaded.in_stream
        self._recent, self._recent_before = set(), set()
        self._awaited = {cursor for cursor in self._awaited if cursor.id > loaded.cursor.id}
        self._remember([*(entry.cursor for entry in loaded.entries), loaded.cursor])

    def _settle_held(self) -> None:
        """Apply what was published meanwhile; whatever does not fit asks for another repair."""
        held, self._held = self._held, []
        for publish in held:
            self._accept(publish)


@dataclass(frozen=True, slots=True)
class Following:
    """What a process follows boards with: their logs, its one subscription, the names of their channels."""

    board_log: BoardLog
    tail: Tail
    keys: Keys

    def follow(self, board: BoardId, reader: Reader) -> Follow:
        """Return a board's link to its log, not yet started."""
        return Follow(board, self.board_log, self.tail, self.keys, reader)
