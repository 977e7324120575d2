"""The asset store in memory, for tests. The contract tests hold it to the same cases as PostgreSQL."""

from collections.abc import AsyncIterator, Container

from boardlog.errors import BoardNotFound
from boardlog.ids import BoardId
from bridge.asset_records import Asset
from bridge.asset_store import BOARD_ASSETS_BYTES_MAX, CHUNK_BYTES, refuse_beyond
from bridge.errors import AssetExists


class TwinAssets:
    """Assets in memory (asset_store.AssetStore)."""

    def __init__(self, boards: Container[BoardId], board_bytes_max: int = BOARD_ASSETS_BYTES_MAX) -> None:
        """Begin without assets; `boards` are those that exist."""
        self._boards = boards
        self._board_bytes_max = board_bytes_max
        self._assets: dict[tuple[BoardId, str], tuple[Asset, bytes]] = {}

    async def put(self, asset: Asset, body: bytes) -> bool:
        """See AssetStore."""
        known = self._assets.get((asset.board, asset.asset_id))
        if known is not None:
            if known[0].sha256 != asset.sha256:
                raise AssetExists(asset.asset_id)
            return False
        used_bytes = sum(stored.size_bytes for (on, _), (stored, _) in self._assets.items() if on == asset.board)
        refuse_beyond(self._board_bytes_max, used_bytes, asset)
        if asset.board not in self._boards:
            raise BoardNotFound(f"There is no board {asset.board}.")
        self._assets[asset.board, asset.asset_id] = asset, body
        return True

    async def find(self, board: BoardId, asset_id: str) -> Asset | None:
        """See AssetStore."""
        known = self._assets.get((board, asset_id))
        return None if known is None else known[0]

    async def read(self, board: BoardId, asset_id: str) -> AsyncIterator[bytes]:
        """See AssetStore."""
        _, body = self._assets.get((board, asset_id), (None, b""))
        for start in range(0, len(body), CHUNK_BYTES):
            yield body[start : start + CHUNK_BYTES]
