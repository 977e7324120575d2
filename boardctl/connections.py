"""Opens what the commands need, from the same environment variables as the services, and closes it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, TypeVar

import typer
from rich.console import Console

from boardlog import database
from boardlog import redis as redis_module
from boardlog.access import Access
from boardlog.errors import BoardLogError
from boardlog.keys import Keys
from boardlog.redis import Redis
from boardlog.scripts import Scripts
from boardlog.snapshots import PostgresSnapshots
from boardlog.stream import RedisStreams

T = TypeVar("T")

console = Console()


@dataclass(frozen=True, slots=True)
class Connections:
    """The stores that a command works on."""

    pool: database.Pool
    redis: Redis
    streams: RedisStreams
    snapshots: PostgresSnapshots
    access: Access


@asynccontextmanager
async def connected(database_url: str, redis_url: str, redis_key_prefix: str = "") -> AsyncIterator[Connections]:
    """Connect on first use, disconnect at the end."""
    pool = await database.connect(database_url, connections_max=2)
    redis = redis_module.connect(redis_url)
    keys = Keys(redis_key_prefix)
    try:
        yield Connections(
            pool,
            redis,
            RedisStreams(redis, Scripts(redis), keys),
            PostgresSnapshots(pool),
            Access(pool, redis, keys),
        )
    finally:
        await redis.aclose()
        pool.terminate()


def run(command: Callable[[Connections], Awaitable[T]]) -> T:
    """Run a command on the stores that DATABASE_URL and REDIS_URL name. Errors become one line and exit code 1."""

    async def connect_and_run() -> T:
        urls = _variable("DATABASE_URL"), _variable("REDIS_URL")
        async with connected(*urls, os.environ.get("REDIS_KEY_PREFIX", "")) as connections:
            return await command(connections)

    try:
        return asyncio.run(connect_and_run())
    except BoardLogError as error:
        fail(str(error))


def fail(sentence: str) -> NoReturn:
    """End the command with one sentence on standard error."""
    typer.echo(f"boardctl: {sentence}", err=True)
    raise typer.Exit(1)


def print_json(value: object) -> None:
    """Print for machines."""
    typer.echo(json.dumps(value, default=lambda v: v.isoformat() if isinstance(v, datetime) else str(v)))


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        fail(f"set {name}: it says which system to work on (`boardctl up` prints its own).")
    return value
