"""Connecting to Redis, and running the scripts in `lua/` by their hash."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Self

from redis.asyncio import Redis as RedisClient
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError

from boardlog.errors import InvalidSetting, LogFull, StorageUnavailable

Redis = RedisClient
Call = tuple[str | bytes, ...]
COMMAND_TIMEOUT_SECONDS = 5.0


def connect(url: str) -> Redis:
    """Return a client for `url`; it connects on first use. Bytes in, bytes out. Raises InvalidSetting.

    The library's own retries are off: only a caller knows whether repeating is right (L10).
    """
    try:
        return _client(url)
    except ValueError as error:
        raise InvalidSetting(f"REDIS_URL is not an address of Redis: {error}") from error


def _client(url: str) -> Redis:
    return RedisClient.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=COMMAND_TIMEOUT_SECONDS,
        socket_connect_timeout=COMMAND_TIMEOUT_SECONDS,
        health_check_interval=0,
    )


def own_connection(redis: Redis) -> Connection:
    """Return a connection outside the pool, with the pool's address, password and TLS: for a subscriber."""
    connection: Connection = redis.connection_pool.make_connection()
    return connection


async def check(redis: Redis) -> None:
    """Return if Redis answers. Raises StorageUnavailable."""
    with unavailable():
        await redis.ping()


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn every failure to reach Redis, or its refusal, into StorageUnavailable."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise refusal(error) from error


def refusal(error: Exception) -> StorageUnavailable:
    """Return what a failure of Redis means: LogFull where it has reached its `maxmemory`, and so did nothing."""
    if isinstance(error, OutOfMemoryError):
        return LogFull("Redis has reached its maxmemory: see whether PostgreSQL and the workers are well.")
    return StorageUnavailable(f"Redis did not carry out a command: {error}")


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script, called by the hash of its text."""

    text: bytes
    sha: str

    @classmethod
    def named(cls, name: str) -> Self:
        """Read `lua/{name}.lua`."""
        text = files("boardlog").joinpath("lua", f"{name}.lua").read_bytes()
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], args: Sequence[str | bytes]) -> Call:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha, str(len(keys)), *keys, *args)


@dataclass(frozen=True, slots=True)
class Scripts:
    """All scripts, and the client that runs them."""

    redis: Redis
    append: Script = field(default_factory=lambda: Script.named("append"))
    birth: Script = field(default_factory=lambda: Script.named("birth"))
    trim: Script = field(default_factory=lambda: Script.named("trim"))
    rebase: Script = field(default_factory=lambda: Script.named("rebase"))
    mark_due: Script = field(default_factory=lambda: Script.named("mark_due"))
    claim: Script = field(default_factory=lambda: Script.named("claim"))
    release: Script = field(default_factory=lambda: Script.named("release"))

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes]) -> Any:
        """Run one script. Raises StorageUnavailable: then it ran, or not."""
        reply = (await self.pipeline([script.call(keys, args)]))[0]
        if isinstance(reply, Exception):
            raise refusal(reply) from reply
        return reply

    async def pipeline(self, calls: Sequence[Call]) -> list[Any]:
        """Send all calls at once; a refused one gives its exception in place of a reply.

        A server that has just started knows no script: it is told, and what it did not know is sent again, in order.
        """
        replies = await self._send(calls)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            with unavailable():
                for script in (
                    self.append,
                    self.birth,
                    self.trim,
                    self.rebase,
                    self.mark_due,
                    self.claim,
                    self.release,
                ):
                    await self.redis.execute_command("SCRIPT LOAD", script.text)
            for index, reply in zip(unknown, await self._send([calls[index] for index in unknown]), strict=True):
                replies[index] = reply
        return replies

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        with unavailable():
            async with self.redis.pipeline(transaction=False) as pipe:
                for call in calls:
                    pipe.execute_command(*call)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
                return replies
