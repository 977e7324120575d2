"""The stores in memory: Streams, Snapshots and Due as Redis and PostgreSQL keep them, for tests and simulations.

The contract tests hold each to the same cases as the real servers. Time is a function that is passed in.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count

from boardlog.due import DUE_AFTER_MS, Claim
from boardlog.entry import ANCHOR, EntryKind, Payload, pack
from boardlog.errors import BoardNotFound, LogFull, NoLog, StaleSnapshot, StorageUnavailable
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.keys import Keys
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from boardlog.snapshots import LIST_BOARDS_MAX, BoardSummary, Quarantined, Snapshot
from boardlog.stream import PUBLISH_PAYLOAD_BYTES_MAX, Append, Appended, Memory, RawEntry, beginning

Clock = Callable[[], int]
"""Milliseconds since the epoch, as the server's clock has them: it may be set back."""
Publish = Callable[[str, bytes], None]

FULL = "The server has reached its maxmemory."

_NEVER = EntryId(0, 0)
_REBASE = pack(Payload(EntryKind.REBASE, ()))


@dataclass(slots=True)
class _Stream:
    entries: list[RawEntry] = field(default_factory=list)
    last: EntryId = _NEVER
    """The highest id it ever gave: what a trim or a deletion of entries does not lower."""

    def next_id(self, now_ms: int) -> EntryId:
        """Return what `XADD *` takes: a clock that was set back changes nothing but the counter."""
        return EntryId(now_ms, 0) if now_ms > self.last.ms else EntryId(self.last.ms, self.last.seq + 1)

    def add(self, cursor: Cursor, payload: bytes) -> None:
        if cursor.id <= self.last:
            raise ValueError("XADD refuses an id that is not above the last one")
        self.entries.append(RawEntry(cursor, payload))
        self.last = cursor.id

    def place(self, cursor: Cursor) -> int | None:
        """Return where an entry of this id and tag stands."""
        return next((place for place, entry in enumerate(self.entries) if entry.cursor == cursor), None)


class TwinDue:
    """The work queue in memory (due.Due)."""

    def __init__(self, clock: Clock) -> None:
        """Begin empty."""
        self._clock = clock
        self._due_ms: dict[BoardId, int] = {}
        self._leases: dict[BoardId, int] = {}
        self._tokens = count(1)

    def lose_everything(self) -> None:
        """Forget all marks and claims, as a restart without persistence does (L9)."""
        self._due_ms.clear()
        self._leases.clear()

    async def mark(self, boards: Sequence[BoardId], delay_ms: int) -> None:
        """See Due."""
        self.mark_now(boards, delay_ms)

    def mark_now(self, boards: Sequence[BoardId], delay_ms: int) -> None:
        """Mark without awaiting, as an append does within its pipeline."""
        due_ms = self._clock() + delay_ms
        for board in boards:
            self._due_ms[board] = min(due_ms, self._due_ms.get(board, due_ms))

    async def claim(self, lease_ms: int) -> Claim | None:
        """See Due."""
        now_ms = self._clock()
        due = sorted((due_ms, board) for board, due_ms in self._due_ms.items() if due_ms <= now_ms)
        if not due:
            return None
        board = due[0][1]
        self._due_ms[board] = now_ms + lease_ms
        self._leases[board] = next(self._tokens)
        return Claim(board, self._leases[board])

    async def release(self, claim: Claim, again_after_ms: int | None) -> bool:
        """See Due."""
        if self._leases.get(claim.board) != claim.token:
            return False
        del self._leases[claim.board]
        if again_after_ms is None:
            self._due_ms.pop(claim.board, None)
        else:
            self._due_ms[claim.board] = self._clock() + again_after_ms
        return True

    async def waiting(self) -> int:
        """See Due."""
        return len(self._due_ms)


class TwinStreams:
    """Logs in memory (stream.Streams), and what happens to them in a failure."""

    def __init__(self, clock: Clock, due: TwinDue, publish: Publish, keys: Keys | None = None) -> None:
        """Begin without logs; `publish` gets each channel's messages in the order of the appends."""
        self._clock = clock
        self._due = due
        self._publish = publish
        self._keys = keys or Keys()
        self._streams: dict[BoardId, _Stream] = {}
        self.memory_max_bytes = 0
        """As a server's `maxmemory`: once more is used, appends and births are refused; 0 for no such bound."""

    def lose_everything(self) -> None:
        """Forget all logs, as FLUSHALL or a restart without persistence does."""
        self._streams.clear()

    def lose_last(self, board: BoardId, entries: int) -> None:
        """Forget a log's last entries, as a failover to a lagging replica does."""
        stream = self._streams[board]
        del stream.entries[len(stream.entries) - entries :]
        stream.last = stream.entries[-1].cursor.id if stream.entries else EntryId(0, 0)

    def now(self, board: BoardId) -> list[RawEntry]:
        """Return a log as it stands."""
        return list(self._entries(board))

    async def append_many(self, appends: Sequence[Append]) -> list[Appended | NoLog | StorageUnavailable]:
        """See Streams."""
        outcomes: list[Appended | NoLog | StorageUnavailable] = [self._append(append) for append in appends]
        self._due.mark_now([append.board for append in appends], DUE_AFTER_MS)
        return outcomes

    def _append(self, append: Append) -> Appended | NoLog | StorageUnavailable:
        stream = self._streams.get(append.board)
        if stream is None or not stream.entries:
            return NoLog(f"Board {append.board} has no log in Redis.")
        if self._is_full():
            return LogFull(FULL)
        previous = stream.entries[-1].cursor
        cursor = Cursor(stream.next_id(self._clock()), append.tag)
        stream.add(cursor, append.payload)
        self._tell(append.board, previous, cursor, append.payload)
        return Appended(previous, cursor)

    def _tell(self, board: BoardId, previous: Cursor, cursor: Cursor, payload: bytes) -> None:
        link = f"{previous.id} {previous.tag} {cursor.id} {cursor.tag}".encode()
        message = link + b"\n" + payload if len(payload) <= PUBLISH_PAYLOAD_BYTES_MAX else link
        self._publish(self._keys.entries(board), message)

    async def birth(self, board: BoardId, anchor: Cursor, rebase_tag: Tag) -> None:
        """See Streams."""
        stream = self._streams.setdefault(board, _Stream())
        if stream.entries:
            return
        if self._is_full():
            raise LogFull(FULL)
        if anchor.id > stream.last:
            stream.add(anchor, pack(ANCHOR))
        else:
            stream.add(Cursor(stream.next_id(self._clock()), rebase_tag), _REBASE)

    async def read(self, board: BoardId) -> list[RawEntry]:
        """See Streams."""
        return self.now(board)

    async def read_from(self, board: BoardId, cursor: Cursor, bytes_max: int | None = None) -> list[RawEntry] | None:
        """See Streams."""
        place = self._stream(board).place(cursor)
        if place is None:
            return None
        entries = self._entries(board)[place + 1 :]
        return entries if bytes_max is None else beginning(entries, bytes_max)

    async def head(self, board: BoardId) -> Cursor | None:
        """See Streams."""
        entries = self._entries(board)
        return entries[-1].cursor if entries else None

    async def audit(self, positions: Sequence[tuple[BoardId, Cursor]]) -> list[Cursor | None]:
        """See Streams."""
        found: list[Cursor | None] = []
        for board, cursor in positions:
            place = self._stream(board).place(cursor)
            entries = self._entries(board)
            found.append(None if place is None else entries[min(place + 1, len(entries) - 1)].cursor)
        return found

    async def trim(self, board: BoardId, own: Cursor, keep_from: EntryId) -> int | None:
        """See Streams."""
        stream = self._stream(board)
        if stream.place(own) is None:
            return None
        kept = [entry for entry in stream.entries if entry.cursor.id >= min(keep_from, own.id)]
        trimmed = len(stream.entries) - len(kept)
        stream.entries = kept
        return trimmed

    async def rebase(self, board: BoardId, cursor: Cursor, tag: Tag) -> bool:
        """See Streams."""
        stream = self._stream(board)
        if not stream.entries or stream.place(cursor) is not None:
            return False
        previous = stream.entries[-1].cursor
        above = EntryId(cursor.id.ms + 1, 0)
        new = Cursor(above if above > stream.last else stream.next_id(self._clock()), tag)
        stream.add(new, _REBASE)
        self._tell(board, previous, new, _REBASE)
        return True

    async def delete(self, board: BoardId) -> None:
        """See Streams."""
        self._streams.pop(board, None)

    async def boards(self) -> AsyncIterator[BoardId]:
        """See Streams."""
        for board in list(self._streams):
            yield board

    async def publish_presence(self, messages: Sequence[tuple[BoardId, bytes]]) -> None:
        """See Streams."""
        for board, message in messages:
            self._publish(self._keys.presence(board), message)

    async def memory(self) -> Memory:
        """See Streams."""
        return self._memory()

    def _is_full(self) -> bool:
        return 0 < self.memory_max_bytes < self._memory().used_bytes

    def _memory(self) -> Memory:
        entries = (entry for stream in self._streams.values() for entry in stream.entries)
        return Memory(sum(entry.size_bytes for entry in entries), self.memory_max_bytes)

    def _stream(self, board: BoardId) -> _Stream:
        return self._streams.get(board) or _Stream()

    def _entries(self, board: BoardId) -> list[RawEntry]:
        return self._stream(board).entries


class TwinSnapshots:
    """Snapshots in memory (snapshots.Snapshots)."""

    def __init__(self, clock: Clock) -> None:
        """Begin without boards."""
        self._clock = clock
        self._rows: dict[BoardId, tuple[Snapshot, datetime, datetime]] = {}
        self._quarantined: dict[BoardId, dict[tuple[Cursor, int], Quarantined]] = {}

    def now(self, board: BoardId) -> Snapshot:
        """Return the committed snapshot of a board that exists."""
        return self._rows[board][0]

    def fall_back(self, snapshot: Snapshot) -> None:
        """Have an earlier snapshot of a board again, as after a failover to a lagging replica."""
        _, created_at, updated_at = self._rows[snapshot.board]
        self._rows[snapshot.board] = (snapshot, created_at, updated_at)

    async def create(self, board: BoardId) -> bool:
        """See Snapshots."""
        if board in self._rows:
            return False
        empty = Snapshot(board, 0, GENESIS, GENESIS.id, EMPTY_UPDATE, EMPTY_STATE_VECTOR)
        self._rows[board] = (empty, self._now(), self._now())
        return True

    async def load(self, board: BoardId) -> Snapshot:
        """See Snapshots."""
        if board not in self._rows:
            raise BoardNotFound(f"There is no board {board}.")
        snapshot, _, stored_at = self._rows[board]
        return replace(snapshot, stored_at=stored_at)

    async def load_cursor(self, board: BoardId) -> Cursor:
        """See Snapshots."""
        return (await self.load(board)).cursor

    async def store(self, snapshot: Snapshot, quarantined: Sequence[Quarantined], *, replaces: Cursor) -> None:
        """See Snapshots."""
        old = self._rows.get(snapshot.board)
        if old is None or (old[0].version, old[0].cursor) != (snapshot.version - 1, replaces):
            raise StaleSnapshot(f"Another worker stored a snapshot of {snapshot.board} first.")
        self._rows[snapshot.board] = (snapshot, old[1], self._now())
        kept = self._quarantined.setdefault(snapshot.board, {})
        for one in quarantined:
            kept.setdefault((one.cursor, one.position), one)

    async def summaries(self, boards: Sequence[BoardId] | None = None) -> list[BoardSummary]:
        """See Snapshots."""
        return self.summaries_now(boards)

    def summaries_now(self, boards: Sequence[BoardId] | None = None) -> list[BoardSummary]:
        """Return what `summaries` does. Nothing is compressed here: both sizes are the state's."""
        rows = [row for board, row in self._rows.items() if boards is None or board in boards]
        rows.sort(key=lambda row: row[2], reverse=True)
        return [
            BoardSummary(
                s.board, s.version, s.cursor, len(s.state), len(s.state), len(self._quarantined.get(s.board, {})),
                created_at, updated_at,
            )
            for s, created_at, updated_at in rows[:LIST_BOARDS_MAX]
        ]  # fmt: skip

    async def quarantined(self, board: BoardId) -> list[Quarantined]:
        """See Snapshots."""
        kept = self._quarantined.get(board, {}).values()
        return sorted(kept, key=lambda one: (one.cursor.id, one.position))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)
