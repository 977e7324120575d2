"""Where uploaded pictures are kept: a small port, and PostgreSQL behind it. An object store can fill it as well."""

from collections.abc import AsyncIterator
from typing import Protocol

import asyncpg

from boardlog.database import Pool, unavailable
from boardlog.errors import BoardNotFound
from boardlog.ids import BoardId
from bridge.asset_records import Asset
from bridge.errors import AssetExists, AssetTooLarge
from bridge.pictures import Picture

BOARD_ASSETS_BYTES_MAX = 512 * 1024 * 1024
"""All assets of a board together."""
CHUNK_BYTES = 512 * 1024
"""What a reader holds of an asset at a time, however slow the client behind it is."""

_LOCK = 0x617373  # "ass(ets)": the first half of an advisory lock's key, the board's hash being the second


class AssetStore(Protocol):
    """Assets by board and id. Whoever is told that one was put has it for as long as the board exists."""

    async def put(self, asset: Asset, body: bytes) -> bool:
        """Store an asset; return whether it is new, False if the board has the same bytes under that id already.

        Racing calls never exceed the board's bound together. Raises AssetExists, AssetTooLarge, BoardNotFound,
        StorageUnavailable; cancelled, it has stored the asset or not.
        """

    async def find(self, board: BoardId, asset_id: str) -> Asset | None:
        """Return what is known of an asset, None if there is none. Raises StorageUnavailable."""

    def read(self, board: BoardId, asset_id: str) -> AsyncIterator[bytes]:
        """Yield an asset's bytes, CHUNK_BYTES at a time; nothing if there is none. Raises StorageUnavailable."""


def refuse_beyond(board_bytes_max: int, used_bytes: int, asset: Asset) -> None:
    """Raise AssetTooLarge if a board that uses so much has no room for an asset."""
    if used_bytes + asset.size_bytes > board_bytes_max:
        raise AssetTooLarge(
            f"This board's assets may have {board_bytes_max} bytes together, and have {used_bytes}: this one does not "
            "fit. Use a smaller picture, or another board."
        )


class PostgresAssets:
    """Assets in the table of that name."""

    def __init__(self, pool: Pool, board_bytes_max: int = BOARD_ASSETS_BYTES_MAX) -> None:
        """Use this pool."""
        self._pool = pool
        self._board_bytes_max = board_bytes_max

    async def put(self, asset: Asset, body: bytes) -> bool:
        """See AssetStore."""
        with unavailable():
            async with self._pool.acquire() as connection, connection.transaction():
                # One upload of a board at a time: what is counted below stays true until this one is committed.
                await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext($2))", _LOCK, asset.board)
                known = await connection.fetchval(
                    "SELECT sha256 FROM assets WHERE board_id = $1 AND asset_id = $2",
                    asset.board,
                    asset.asset_id,
                )
                if known is not None:
                    if known != asset.sha256:
                        raise AssetExists(asset.asset_id)
                    return False
                used_bytes = await connection.fetchval(
                    "SELECT coalesce(sum(size_bytes), 0)::bigint FROM assets WHERE board_id = $1", asset.board
                )
                refuse_beyond(self._board_bytes_max, used_bytes, asset)
                await _insert(connection, asset, body)
        return True

    async def find(self, board: BoardId, asset_id: str) -> Asset | None:
        """See AssetStore."""
        with unavailable():
            row = await self._pool.fetchrow(
                "SELECT mime_type, width, height, is_animated, size_bytes, sha256, created_by FROM assets"
                " WHERE board_id = $1 AND asset_id = $2",
                board, asset_id,
            )  # fmt: skip
        if row is None:
            return None
        picture = Picture(row["mime_type"], row["width"], row["height"], row["is_animated"])
        return Asset(board, asset_id, picture, row["size_bytes"], row["sha256"], row["created_by"])

    async def read(self, board: BoardId, asset_id: str) -> AsyncIterator[bytes]:
        """See AssetStore. No connection is held while the reader is busy with a chunk."""
        start = 1
        while True:
            with unavailable():
                chunk: bytes | None = await self._pool.fetchval(
                    "SELECT substring(body FROM $3 FOR $4) FROM assets WHERE board_id = $1 AND asset_id = $2",
                    board, asset_id, start, CHUNK_BYTES,
                )  # fmt: skip
            if not chunk:
                return
            yield chunk
            start += len(chunk)


async def _insert(connection: asyncpg.pool.PoolConnectionProxy, asset: Asset, body: bytes) -> None:
    try:
        await connection.execute(
            "INSERT INTO assets (board_id, asset_id, mime_type, width, height, is_animated, size_bytes, sha256, body,"
            " created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            asset.board, asset.asset_id, *asset.picture, asset.size_bytes, asset.sha256, body, asset.created_by,
        )  # fmt: skip
    except asyncpg.ForeignKeyViolationError:
        raise BoardNotFound(f"There is no board {asset.board}.") from None
