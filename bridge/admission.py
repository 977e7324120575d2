"""Who may do what: a request's key, and the board that it opens."""

from aiohttp import web

from boardlog.access import Access, key_from
from boardlog.errors import BoardNotFound, StorageUnavailable
from boardlog.grant import Forbidden, Grant
from boardlog.ids import parse_board_id
from boardlog.snapshots import Snapshots


class Admission:
    """Verifies keys; makes a missing board for a key that may."""

    def __init__(self, access: Access, snapshots: Snapshots) -> None:
        """Verify through `access`; boards exist in `snapshots`."""
        self._access = access
        self._snapshots = snapshots

    async def enter(self, request: web.Request, *, to_write: bool = False) -> Grant:
        """Return what the request's key allows on its board, which exists then if the key may create it.

        Raises InvalidBoardId, Unauthenticated, Forbidden, StorageUnavailable.
        """
        board = parse_board_id(request.match_info["board"])
        grant = await self._access.grant(key_from(request.headers), board)
        if to_write and not grant.can_append:
            raise Forbidden("This key may view the board, not change it.")
        if to_write and grant.can_create:
            await self._create_if_missing(grant)
        return grant

    async def _create_if_missing(self, grant: Grant) -> None:
        try:
            await self._snapshots.load_cursor(grant.board)
        except BoardNotFound:
            await self._snapshots.create(grant.board)
        except StorageUnavailable:
            pass  # a board that is held goes on without the database; another is refused when it has to be loaded (G5)
