"""The stores under test: the twins in memory, and every real server that there is."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from boardlog import database as database_module
from boardlog import redis as redis_module
from boardlog.due import Due, RedisDue
from boardlog.errors import StorageUnavailable
from boardlog.keys import Keys
from boardlog.redis import Redis
from boardlog.scripts import Scripts
from boardlog.snapshots import PostgresSnapshots, Snapshots
from boardlog.stream import RedisStreams, Streams
from boardlog.twin import TwinDue, TwinSnapshots, TwinStreams

MACHINE_REDIS = "redis://127.0.0.1:6379"
MACHINE_POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
"""Servers that a machine may run already: a second target with other versions, never a requirement."""

TWIN_STARTS_AT_MS = 1_700_000_000_000


@dataclass
class Logs:
    """Streams and due set on one store, and what it publishes."""

    streams: Streams
    due: Due
    keys: Keys
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    pass_ms: Callable[[int], None] | None = None
    """Lets the twin's clock go on; a real server's goes by itself."""
    redis: Redis | None = None


@asynccontextmanager
async def twin_logs() -> AsyncIterator[Logs]:
    now = [TWIN_STARTS_AT_MS]
    messages: list[tuple[str, bytes]] = []
    due = TwinDue(lambda: now[0])
    keys = Keys()
    streams = TwinStreams(lambda: now[0], due, lambda channel, message: messages.append((channel, message)), keys)

    def pass_ms(ms: int) -> None:
        now[0] += ms

    yield Logs(streams, due, keys, messages, pass_ms)


@asynccontextmanager
async def redis_logs(url: str, prefix: str) -> AsyncIterator[Logs]:
    redis = redis_module.connect(url)
    keys, scripts = Keys(prefix), Scripts(redis)
    try:
        await redis_module.check(redis)
    except StorageUnavailable:
        await redis.aclose()
        pytest.skip(f"no Redis at {url}: a second target, not a requirement")
    streams = RedisStreams(redis, scripts, keys)
    logs = Logs(streams, RedisDue(redis, scripts, keys), keys, redis=redis)
    subscriber = redis.pubsub()
    await subscriber.psubscribe(f"{prefix}*")

    async def collect() -> None:
        async for message in subscriber.listen():
            if message["type"] == "pmessage":
                logs.messages.append((message["channel"].decode(), message["data"]))

    collecting = asyncio.create_task(collect())
    try:
        yield logs
    finally:
        collecting.cancel()
        await asyncio.gather(collecting, streams.marking.flushed(), return_exceptions=True)
        await subscriber.aclose()
        async for key in redis.scan_iter(f"{prefix}*"):
            await redis.delete(key)
        await redis.aclose()


@asynccontextmanager
async def postgres_snapshots(url: str) -> AsyncIterator[Snapshots]:
    pool = await database_module.connect(url)
    try:
        yield PostgresSnapshots(pool)
    finally:
        await pool.close()


@asynccontextmanager
async def machine_database() -> AsyncIterator[str]:
    """Yield an empty, migrated database on the machine's own PostgreSQL."""
    if not await machine_has_postgres():
        pytest.skip("no PostgreSQL at port 5432: a second target, not a requirement")
    name = f"test_{secrets.token_hex(6)}"
    administrator = await asyncpg.connect(MACHINE_POSTGRES)
    await administrator.execute(f"CREATE DATABASE {name}")
    url = MACHINE_POSTGRES.rsplit("/", 1)[0] + "/" + name
    pool = await database_module.connect(url)
    await database_module.migrate(pool)
    await pool.close()
    yield url
    await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await administrator.close()


def twin_snapshots() -> Snapshots:
    return TwinSnapshots(lambda: TWIN_STARTS_AT_MS)


async def machine_has_postgres() -> bool:
    try:
        await (await asyncpg.connect(MACHINE_POSTGRES, timeout=2)).close()
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True
