"""Snapshots on PostgreSQL: a board's folded state at a cursor, stored by compare-and-set (L7, G3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import asyncpg
import zstandard

from boardlog.database import Pool, unavailable
from boardlog.errors import BoardLogError, BoardNotFound, StaleSnapshot
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE

STATE_BYTES_MAX = 256 * 1024 * 1024
"""A larger state is not unpacked: it would take the whole node's memory."""
ZSTD_LEVEL = 3
LIST_BOARDS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A board's state at a cursor: every entry up to it is folded in, whatever its dependencies (G3)."""

    board: BoardId
    version: int
    """Counts the stores; with the cursor, the fence of the next one."""
    cursor: Cursor
    previous: EntryId
    """The entry id of the snapshot before: the log is kept from there (L8)."""
    state: bytes
    """One Yjs v1 update, pending structs and deletions included."""
    state_vector: bytes
    """The state vector of `state`, as y-protocols encode it."""
    stored_at: datetime | None = field(default=None, compare=False)
    """When it was stored, by the database's clock; None before."""


class Quarantined(NamedTuple):
    """An update that could not be folded, and where it came from."""

    cursor: Cursor
    position: int
    reason: str
    payload: bytes


class BoardSummary(NamedTuple):
    """A line of the list of boards."""

    board: BoardId
    version: int
    cursor: Cursor
    state_bytes: int
    stored_bytes: int
    quarantined: int
    created_at: datetime
    updated_at: datetime


class Snapshots(Protocol):
    """Where snapshots are kept: on PostgreSQL here, in memory in `twin.py`. Both pass the same contract tests."""

    async def create(self, board: BoardId) -> bool:
        """Insert an empty board at GENESIS (L1); False if it is there already."""

    async def load(self, board: BoardId) -> Snapshot:
        """Return the committed snapshot, from the primary (L2). Raises BoardNotFound, StorageUnavailable."""

    async def load_cursor(self, board: BoardId) -> Cursor:
        """Return only the cursor of the committed snapshot. Raises BoardNotFound, StorageUnavailable."""

    async def store(self, snapshot: Snapshot, quarantined: Sequence[Quarantined], *, replaces: Cursor) -> None:
        """Replace version `snapshot.version - 1` at the cursor `replaces`, or raise StaleSnapshot (L7). Atomic.

        The version alone would not do: a database that fell back gives the same number again, to another snapshot.
        """

    async def summaries(self, boards: Sequence[BoardId] | None = None) -> list[BoardSummary]:
        """Describe these boards, or the LIST_BOARDS_MAX most recently changed ones."""

    async def quarantined(self, board: BoardId) -> list[Quarantined]:
        """Return what could not be folded, oldest first."""


class PostgresSnapshots:
    """Snapshots in the table canvas_snapshots."""

    def __init__(self, pool: Pool) -> None:
        """Use this pool, which must lead to the primary (L2)."""
        self._pool = pool

    async def create(self, board: BoardId) -> bool:
        """See Snapshots."""
        packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(EMPTY_UPDATE)
        with unavailable():
            status = await self._pool.execute(
                "INSERT INTO canvas_snapshots (board_id, cursor_ms, cursor_seq, cursor_tag, previous_ms,"
                " previous_seq, state, state_bytes, state_vector) VALUES ($1, $2, $3, $4, $2, $3, $5, $6, $7)"
                " ON CONFLICT DO NOTHING",
                board, *GENESIS.id, GENESIS.tag, packed, len(EMPTY_UPDATE), EMPTY_STATE_VECTOR,
            )  # fmt: skip
        return bool(status == "INSERT 0 1")

    async def load(self, board: BoardId) -> Snapshot:
        """See Snapshots."""
        with unavailable():
            row = await self._pool.fetchrow(
                "SELECT version, cursor_ms, cursor_seq, cursor_tag, previous_ms, previous_seq, state, state_vector,"
                " updated_at FROM canvas_snapshots WHERE board_id = $1",
                board,
            )
        if row is None:
            raise BoardNotFound(f"There is no board {board}.")
        return Snapshot(
            board,
            row["version"],
            _cursor(row),
            EntryId(row["previous_ms"], row["previous_seq"]),
            _unpack(board, row["state"]),
            row["state_vector"],
            row["updated_at"],
        )

    async def load_cursor(self, board: BoardId) -> Cursor:
        """See Snapshots."""
        with unavailable():
            row = await self._pool.fetchrow(
                "SELECT cursor_ms, cursor_seq, cursor_tag FROM canvas_snapshots WHERE board_id = $1", board
            )
        if row is None:
            raise BoardNotFound(f"There is no board {board}.")
        return _cursor(row)

    async def store(self, snapshot: Snapshot, quarantined: Sequence[Quarantined], *, replaces: Cursor) -> None:
        """See Snapshots. Cancelled or cut off, it has stored everything or nothing; which, a new load tells."""
        packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(snapshot.state)
        with unavailable():
            async with self._pool.acquire() as connection, connection.transaction():
                status = await connection.execute(
                    "UPDATE canvas_snapshots SET version = $2, cursor_ms = $3, cursor_seq = $4, cursor_tag = $5,"
                    " previous_ms = $6, previous_seq = $7, state = $8, state_bytes = $9, state_vector = $10,"
                    " updated_at = now() WHERE board_id = $1 AND version = $2 - 1"
                    " AND cursor_ms = $11 AND cursor_seq = $12 AND cursor_tag = $13",
                    snapshot.board, snapshot.version, *snapshot.cursor.id, snapshot.cursor.tag, *snapshot.previous,
                    packed, len(snapshot.state), snapshot.state_vector, *replaces.id, replaces.tag,
                )  # fmt: skip
                if status != "UPDATE 1":
                    raise StaleSnapshot(f"Another worker stored a snapshot of {snapshot.board} first.")
                await connection.executemany(
                    "INSERT INTO quarantined_updates (board_id, entry_ms, entry_seq, entry_tag, position, reason,"
                    " payload) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                    [
                        (snapshot.board, *q.cursor.id, q.cursor.tag, q.position, q.reason, q.payload)
                        for q in quarantined
                    ],
                )

    async def summaries(self, boards: Sequence[BoardId] | None = None) -> list[BoardSummary]:
        """See Snapshots."""
        with unavailable():
            rows = await self._pool.fetch(
                "SELECT s.*, octet_length(state) AS stored_bytes,"
                " (SELECT count(*) FROM quarantined_updates q WHERE q.board_id = s.board_id) AS quarantined"
                " FROM canvas_snapshots s WHERE $1::text[] IS NULL OR board_id = ANY($1)"
                " ORDER BY updated_at DESC LIMIT $2",
                boards, LIST_BOARDS_MAX,
            )  # fmt: skip
        return [
            BoardSummary(
                BoardId(row["board_id"]), row["version"], _cursor(row), row["state_bytes"], row["stored_bytes"],
                row["quarantined"], row["created_at"], row["updated_at"],
            )
            for row in rows
        ]  # fmt: skip

    async def quarantined(self, board: BoardId) -> list[Quarantined]:
        """See Snapshots."""
        with unavailable():
            rows = await self._pool.fetch(
                "SELECT entry_ms AS cursor_ms, entry_seq AS cursor_seq, entry_tag AS cursor_tag, position, reason,"
                " payload FROM quarantined_updates WHERE board_id = $1 ORDER BY entry_ms, entry_seq, position",
                board,
            )
        return [Quarantined(_cursor(row), row["position"], row["reason"], row["payload"]) for row in rows]


def _cursor(row: asyncpg.Record) -> Cursor:
    return Cursor(EntryId(row["cursor_ms"], row["cursor_seq"]), Tag(row["cursor_tag"]))


def _unpack(board: BoardId, packed: bytes) -> bytes:
    try:
        if zstandard.frame_content_size(packed) > STATE_BYTES_MAX:
            raise BoardLogError(f"The snapshot of {board} is larger than {STATE_BYTES_MAX} bytes.")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=STATE_BYTES_MAX)
    except zstandard.ZstdError as error:
        raise BoardLogError(f"The snapshot of {board} is damaged: restore its row from a backup.") from error
