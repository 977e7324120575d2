"""Keys that were verified lately stay good while nothing can verify them, for a bounded time (G5)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from boardlog import access as access_module
from boardlog.access import KNOWN_KEY_SECONDS_MAX, Access, hash_key, new_key
from boardlog.database import Pool
from boardlog.errors import StorageUnavailable
from boardlog.grant import Role, Unauthenticated
from boardlog.keys import Keys
from boardlog.redis import Redis
from tests.services import System, system


class Leaving:
    """Stands before a store, which can be away."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.is_away = False

    def __getattr__(self, name: str) -> Any:
        if self.is_away:
            raise OSError("It is away.")
        return getattr(self.store, name)


@dataclass
class World:
    """One process' access to a system, whose stores can be away, and whose clock can be moved on."""

    system: System
    pool: Leaving
    redis: Leaving
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.keys = Keys(self.system.redis_key_prefix)
        self.access = Access(cast(Pool, self.pool), cast(Redis, self.redis), self.keys, lambda: self.seconds)

    async def forget(self, key: str) -> None:
        """Let the cache in Redis run out."""
        await self.redis.store.delete(self.keys.api_key(hash_key(key)))


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield World(made, Leaving(made.stores.pool), Leaving(made.stores.redis))


async def test_G5_a_known_key_stays_good_while_the_database_is_away_and_no_longer_than_that(world: World) -> None:
    key, board = world.system.viewer_key, world.system.board
    known = await world.access.grant(key, board)
    await world.forget(key)
    world.pool.is_away = True
    world.seconds = KNOWN_KEY_SECONDS_MAX
    assert await world.access.grant(key, board) == known
    assert known.role is Role.VIEWER
    world.redis.is_away = True
    assert await world.access.grant(key, board) == known
    world.seconds += 1
    with pytest.raises(StorageUnavailable):
        await world.access.grant(key, board)
    world.pool.is_away = world.redis.is_away = False
    assert await world.access.grant(key, board) == known


async def test_G5_a_key_that_nobody_can_verify_is_told_to_come_again_and_not_that_it_is_wrong(world: World) -> None:
    world.pool.is_away = True
    for key in (world.system.editor_key, new_key()):
        with pytest.raises(StorageUnavailable):
            await world.access.grant(key, world.system.board)


async def test_G5_to_be_known_does_not_help_a_key_once_its_end_was_heard_of(world: World) -> None:
    key, board = world.system.editor_key, world.system.board
    await world.access.grant(key, board)
    await world.access.revoke(hash_key(key))
    with pytest.raises(Unauthenticated):
        await world.access.grant(key, board)
    await world.forget(key)
    world.pool.is_away = True
    with pytest.raises(StorageUnavailable):
        await world.access.grant(key, board)


async def test_G5_the_keys_that_are_known_are_bounded_in_number(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "KNOWN_KEYS_MAX", 1)
    board = world.system.board
    for key in (world.system.editor_key, world.system.viewer_key):
        await world.access.grant(key, board)
        await world.forget(key)
    world.pool.is_away = True
    assert (await world.access.grant(world.system.viewer_key, board)).role is Role.VIEWER
    with pytest.raises(StorageUnavailable):
        await world.access.grant(world.system.editor_key, board)
