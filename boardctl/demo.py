"""What `up` puts into the stores: the tables, a demo board and a key for it."""

from pathlib import Path
from typing import NamedTuple

from boardctl.connections import connected
from boardctl.files import kept_secret
from boardlog import database
from boardlog.access import new_key
from boardlog.grant import Forbidden, Role, Unauthenticated
from boardlog.ids import BoardId

BOARD = BoardId("demo")


class Demo(NamedTuple):
    """A board, and a key that may edit it."""

    board: str
    api_key: str


async def prepare(database_url: str, redis_url: str, redis_key_prefix: str, key_file: Path) -> Demo:
    """Bring the tables up to date and see to it that there is a board and a good key, the one in `key_file` if it is.

    Raises StorageUnavailable, OSError. May be repeated.
    """
    async with connected(database_url, redis_url, redis_key_prefix) as stores:
        await database.migrate(stores.pool)
        await stores.snapshots.create(BOARD)
        while True:
            key = kept_secret(key_file, new_key)
            await stores.access.create_key(key, BOARD, Role.EDITOR, "boardctl up")
            try:
                await stores.access.grant(key, BOARD)
            except (Unauthenticated, Forbidden):
                key_file.unlink()  # it was revoked
            else:
                return Demo(BOARD, key)
