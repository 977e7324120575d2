"""One pass over one board: load, fold, store, trim. It may stop or be repeated after any of them (G3)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

import structlog
from prometheus_client import Counter

from boardlog.due import DUE_AFTER_MS
from boardlog.entry import EntryKind
from boardlog.errors import BoardLogError, BoardNotFound, StaleSnapshot
from boardlog.folding import OutOfTime
from boardlog.ids import BoardId, Cursor, EntryId
from boardlog.log import BoardLog, Loaded
from boardlog.merge import Folded
from boardlog.snapshots import STATE_BYTES_MAX, Quarantined, Snapshot
from boardlog.telemetry import METRICS
from persistence_worker.plan import SCARCE_SETTLE_MS, SETTLE_MS, Fold, Found, Rebase, Skip, Trim, plan

log = structlog.get_logger()

SLICE_BYTES_MAX = 16 * 1024 * 1024
"""What is read of a log at once, by its entries' `size_bytes`: one that grew for hours is folded in slices (G5)."""
ROUNDS_MAX = 4
"""Looks at one board in one pass: a lost history takes a rebase and a second look, and may be lost again meanwhile."""
PARTLY_AGAIN_MS = 60_000
"""When a board goes on that was too dear for one pass."""
REJECTED = "It cannot be folded: it cannot be read, or the fold fails or dies of it."

ENTRIES = Counter("compacted_entries_total", "Entries folded into snapshots", registry=METRICS)
BYTES = Counter("compacted_bytes_total", "Bytes of updates folded into snapshots", registry=METRICS)
QUARANTINED = Counter("quarantined_updates_total", "Updates and entries that could not be folded", registry=METRICS)
REBASES = Counter("rebases_total", "Logs reconnected after a loss of history", registry=METRICS)


class BoardTooLarge(BoardLogError):
    """A board's state would be larger than anything can load."""


class Outcome(StrEnum):
    """What a pass has come to."""

    FOLDED = "folded"
    TRIMMED = "trimmed"
    """Nothing was new: the log was trimmed, as far as it could be."""
    SKIPPED = "skipped"
    """The board has no log."""
    STALE = "stale"
    """Another worker stored a snapshot first; ours was dropped (L7)."""
    PARTLY = "partly"
    """It takes too long for one pass: its first entries were folded. The rest comes after other boards' turns."""
    UNSETTLED = "unsettled"
    """Its history was lost again and again while we looked."""
    GONE = "gone"
    """There is no such board any more."""
    AWAY = "away"
    """Redis or PostgreSQL was."""
    FAILED = "failed"
    """The board needs an operator."""


class Done(NamedTuple):
    """The end of a pass."""

    outcome: Outcome
    covered: Cursor | None
    """Where the log ended, if the committed snapshot holds all of that; None if we cannot vouch for it."""
    again_after_ms: int | None
    """When the board has to be looked at again even if nobody writes; None if never."""


class Folds(Protocol):
    """Who folds: `folding.Folder`."""

    async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        """Do what `merge.fold` does."""


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Compaction:
    """Compacts boards, one at a call. Safe against any number of others that do the same (L7)."""

    board_log: BoardLog
    folder: Folds
    now: Callable[[], datetime] = utc_now
    is_memory_scarce: Callable[[], bool] = lambda: False
    """Whether logs should be trimmed as soon as they may (G5)."""

    async def run(self, board: BoardId) -> Done:
        """Bring a board's snapshot up to its log, or on by a slice of it, and trim the log.

        Raises StorageUnavailable, and BoardLogError for a board that needs an operator. It may be cancelled anywhere,
        and repeated after any error: what was stored is found again.
        """
        for _ in range(ROUNDS_MAX):
            try:
                done = await self._look(board)
            except StaleSnapshot:
                # Whoever was faster may have loaded earlier than we did: its snapshot need not hold all that we saw.
                return Done(Outcome.STALE, None, DUE_AFTER_MS)
            except BoardNotFound:
                return Done(Outcome.GONE, None, None)
            if done is not None:
                return done
        log.warning("history_unsettled", board=board, rounds=ROUNDS_MAX)
        return Done(Outcome.UNSETTLED, None, DUE_AFTER_MS)

    async def _look(self, board: BoardId) -> Done | None:
        """Do what the board needs most; None if it has to be looked at again at once."""
        loaded = await self.board_log.load_slice(board, SLICE_BYTES_MAX) or await self.board_log.load(board)
        found = self._found(loaded)
        match plan(found, self._settle_ms):
            case Skip():
                return Done(Outcome.SKIPPED, found.head, None)
            case Rebase():
                await self._rebase(loaded.snapshot)
                return None
            case Trim(keep_from, again_after_ms):
                trimmed = await self.board_log.streams.trim(board, found.snapshot, keep_from)
                if trimmed:
                    log.info("trimmed", board=board, trimmed=trimmed)
                return None if trimmed is None else Done(Outcome.TRIMMED, found.head, again_after_ms)
            case Fold(keep_from):
                return await self._fold(loaded, keep_from)

    @property
    def _settle_ms(self) -> int:
        return SCARCE_SETTLE_MS if self.is_memory_scarce() else SETTLE_MS

    def _found(self, loaded: Loaded) -> Found:
        snapshot = loaded.snapshot
        stored_at = snapshot.stored_at or self.now()
        return Found(
            snapshot=snapshot.cursor,
            kept_from=snapshot.previous,
            head=loaded.cursor,
            in_stream=loaded.in_stream,
            linked=loaded.linked,
            rebased=any(
                entry.payload.kind is EntryKind.REBASE and entry.cursor.id > snapshot.cursor.id
                for entry in loaded.entries
            ),
            # By the database's clock against ours.
            age_ms=int((self.now() - stored_at).total_seconds() * 1000),
        )

    async def _fold(self, loaded: Loaded, keep_from: EntryId) -> Done | None:
        started = time.perf_counter()
        try:
            folded = await self.folder.fold(loaded.snapshot.state, loaded.updates)
        except OutOfTime as error:
            beginning = first(loaded, error.partly.count)
            if not loaded.linked or not beginning.updates:
                raise
            await self._store(beginning, error.partly.folded, keep_from, started)
            return Done(Outcome.PARTLY, None, PARTLY_AGAIN_MS)
        return await self._store(loaded, folded, keep_from, started)

    async def _store(self, loaded: Loaded, folded: Folded, keep_from: EntryId, started: float) -> Done | None:
        """Store what was folded, and trim. If our entry is not in the log any more, it has to be looked at again."""
        old = loaded.snapshot
        if len(folded.state) > STATE_BYTES_MAX:
            # Stored, it could not be loaded again; as it is, the old snapshot and the log still can.
            raise BoardTooLarge(f"Its state of {len(folded.state)} bytes is larger than {STATE_BYTES_MAX}.")
        new = Snapshot(old.board, old.version + 1, loaded.cursor, keep_from, folded.state, folded.state_vector)
        quarantined = [*loaded.unreadable, *rejected(loaded, folded)]
        await self.board_log.snapshots.store(new, quarantined, replaces=old.cursor)
        # Only now: a crash between the two repeats work, the reverse would lose entries. If our entry is not in the log
        # any more, nothing is trimmed, and a second look reconnects the log (L6).
        trimmed = await self.board_log.streams.trim(new.board, new.cursor, keep_from)
        update_bytes = sum(map(len, loaded.updates))
        ENTRIES.inc(len(loaded.entries))
        BYTES.inc(update_bytes)
        QUARANTINED.inc(len(quarantined))
        log.info(
            "compacted",
            board=old.board,
            version=new.version,
            entries=len(loaded.entries),
            update_bytes=update_bytes,
            state_bytes_before=len(old.state),
            state_bytes=len(new.state),
            quarantined=len(quarantined),
            trimmed=trimmed,
            seconds=round(time.perf_counter() - started, 3),
        )
        if trimmed is None:
            return None
        if loaded.is_slice:  # boards that have waited longer come first
            return Done(Outcome.FOLDED, None, 0)
        return Done(Outcome.FOLDED, new.cursor, self._settle_ms)

    async def _rebase(self, snapshot: Snapshot) -> None:
        """Reconnect a log without the snapshot's entry, if it is still there and still so: the next look tells."""
        if await self.board_log.streams.rebase(snapshot.board, snapshot.cursor, self.board_log.new_tag()):
            REBASES.inc()
            log.warning("history_lost", board=snapshot.board, cursor=str(snapshot.cursor))


def rejected(loaded: Loaded, folded: Folded) -> list[Quarantined]:
    """Return what the fold left out, with the entry that it came in and its position there (G6)."""
    origins = [
        Quarantined(entry.cursor, position, REJECTED, update)
        for entry in loaded.entries
        for position, update in enumerate(entry.updates)
    ]
    return [origins[place] for place in folded.rejected if place < len(origins)]


def first(loaded: Loaded, count: int) -> Loaded:
    """Return the beginning of a log, up to the last entry of which all updates are among the first so many (G3)."""
    entries = []
    for entry in loaded.entries:
        count -= len(entry.updates)
        if count < 0:
            break
        entries.append(entry)
    cursor = entries[-1].cursor if entries else loaded.snapshot.cursor
    unreadable = [skipped for skipped in loaded.unreadable if skipped.cursor.id < cursor.id]
    return loaded._replace(entries=entries, unreadable=unreadable, cursor=cursor)
