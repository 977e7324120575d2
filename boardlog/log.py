"""BoardLog, the one door to a board: load it, append to it, follow it."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from boardlog.entry import Entry, unpack
from boardlog.errors import InvalidEntry
from boardlog.ids import TAG_BYTES, BoardId, Cursor, Tag, make_tag
from boardlog.snapshots import Quarantined, Snapshot, Snapshots
from boardlog.stream import RawEntry, Streams

log = structlog.get_logger()


def random_tag() -> Tag:
    """Return a fresh tag (L3)."""
    return make_tag(secrets.token_bytes(TAG_BYTES))


class Loaded(NamedTuple):
    """A board as loaded by L2: state = snapshot + entries, up to and including the cursor."""

    snapshot: Snapshot
    entries: list[Entry]
    """What the snapshot may lack, oldest first. An overlap is harmless, a gap would be loss."""
    unreadable: list[Quarantined]
    """Entries that no reader can decode: skipped here, quarantined by the next compaction (G6)."""
    cursor: Cursor
    first: Cursor | None
    """The first entry that was read of the stream; None if the board has no stream, and so only its snapshot."""
    linked: bool
    """Whether the snapshot's own entry stands in the stream, or there is no stream. If not, history was lost (L6)."""
    is_slice: bool = False
    """Whether the log may go on behind the cursor: no more was read of it."""

    @property
    def updates(self) -> list[bytes]:
        """The updates of all entries, in the log's order."""
        return [update for entry in self.entries for update in entry.updates]

    @property
    def in_stream(self) -> bool:
        """Whether the cursor is an entry of the stream, not just the snapshot's."""
        return self.first is not None


@dataclass(frozen=True, slots=True)
class BoardLog:
    """A board's log: its stream and its snapshot taken together."""

    streams: Streams
    snapshots: Snapshots
    new_tag: Callable[[], Tag] = random_tag

    async def load(self, board: BoardId) -> Loaded:
        """Load a board: the whole stream first, then the snapshot from the primary (L2, G2).

        Whatever was trimmed before the first read is in a snapshot committed before the second.
        Raises BoardNotFound, StorageUnavailable. Cancel-safe: it only reads.
        """
        raw = await self.streams.read(board)
        snapshot = await self.snapshots.load(board)
        return assemble(snapshot, raw)

    async def load_slice(self, board: BoardId, bytes_max: int) -> Loaded | None:
        """Load a snapshot and the next of what its log has beyond it, as much as `read_from` gives at `bytes_max`.

        Or at the state's size, where that is more: each slice costs a store of the whole state.
        For who stores the result by compare-and-set (L7): that the snapshot is still the one that was loaded proves
        then that nothing is missing, for what follows was read from the snapshot's own entry on (L3, G3). None if that
        entry does not stand in the log, or not any more: then only `load` helps.
        Raises BoardNotFound, StorageUnavailable. Cancel-safe: it only reads.
        """
        snapshot = await self.snapshots.load(board)
        bytes_max = max(bytes_max, len(snapshot.state))
        raw = await self.streams.read_from(board, snapshot.cursor, bytes_max)
        if raw is None:
            return None
        entries, unreadable = decode(raw)
        cursor = raw[-1].cursor if raw else snapshot.cursor
        is_slice = sum(entry.size_bytes for entry in raw) >= bytes_max
        return Loaded(snapshot, entries, unreadable, cursor, snapshot.cursor, linked=True, is_slice=is_slice)

    async def birth(self, board: BoardId) -> None:
        """Give a board that has no log its anchor (L1). Raises BoardNotFound, StorageUnavailable. Repeatable."""
        await self.streams.birth(board, await self.snapshots.load_cursor(board), self.new_tag())


def assemble(snapshot: Snapshot, raw: list[RawEntry]) -> Loaded:
    """Put together what L2 read: drop the entries that the snapshot is known to contain, decode the rest."""
    cursors = [entry.cursor for entry in raw]
    linked = not raw or snapshot.cursor in cursors
    if snapshot.cursor in cursors:
        raw = raw[cursors.index(snapshot.cursor) + 1 :]
    entries, unreadable = decode(raw)
    cursor = cursors[-1] if cursors else snapshot.cursor
    return Loaded(snapshot, entries, unreadable, cursor, cursors[0] if cursors else None, linked)


def decode(raw: Sequence[RawEntry]) -> tuple[list[Entry], list[Quarantined]]:
    """Decode entries; what cannot be decoded is returned beside them and stops nobody (G6)."""
    entries: list[Entry] = []
    unreadable: list[Quarantined] = []
    for cursor, payload in raw:
        try:
            entries.append(Entry(cursor, unpack(payload)))
        except InvalidEntry as error:
            log.warning("entry_unreadable", cursor=str(cursor), reason=str(error))
            unreadable.append(Quarantined(cursor, -1, str(error), payload))
    return entries, unreadable
