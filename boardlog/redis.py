"""Connecting to Redis, one server, Sentinel or cluster, and running the scripts in `lua/` by their hash."""

import asyncio
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis as RedisClient
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from boardlog.errors import InvalidSetting, LogFull, StorageUnavailable

Redis = RedisClient | RedisCluster
Call = tuple[str | bytes, ...]
COMMAND_TIMEOUT_SECONDS = 5.0
SENTINEL_TIMEOUT_SECONDS = 1.0
"""A Sentinel that takes longer is passed over: the next one is asked."""
SENTINEL_PORT, SERVER_PORT = 26379, 6379

_NODE_FAILED = (StorageUnavailable, RedisConnectionError, RedisTimeoutError, ClusterDownError)
"""In place of a reply: the node of a cluster that should have given it is down, or cut off."""


def connect(url: str) -> Redis:
    """Return a client for `url`; it connects on first use. Bytes in, bytes out. Raises InvalidSetting.

    - `redis://[[user]:password@]host[:port][/db]` is one server;
    - `redis+sentinel://[[user]:password@]host[:port][,…]/master[/db][?sentinel_password=…]` is whatever server these
      Sentinels call the master of that name at the time;
    - `redis+cluster://[[user]:password@]host[:port][,…]` is the cluster to which these nodes belong.

    `rediss` in place of `redis` is TLS. The library's own retries are off: only a caller knows whether repeating is
    right (L10).
    """
    try:
        return _client(url)
    except (ValueError, TypeError, RedisClusterException) as error:
        # Not with their words: of an address that cannot be read they may quote the password.
        raise InvalidSetting(
            "REDIS_URL is not an address of Redis, Sentinel or a cluster: see the README for its forms, and write what "
            "is special in a password as in %2F."
        ) from error


def _client(url: str) -> Redis:
    transport, _, kind = urlsplit(url).scheme.partition("+")
    match kind:
        case "":
            return RedisClient.from_pool(_cancellable(ConnectionPool.from_url(url, **_options())))
        case "sentinel":
            return _master(transport, url)
        case "cluster":
            return _cluster(transport, url)
        case _:
            raise ValueError("unknown scheme")


def _options() -> dict[str, Any]:
    return {
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": COMMAND_TIMEOUT_SECONDS,
        "socket_connect_timeout": COMMAND_TIMEOUT_SECONDS,
        "health_check_interval": 0,
    }


def _master(transport: str, url: str) -> RedisClient:
    """Return a client that asks Sentinel for the master each time it connects."""
    name, _, database = urlsplit(url).path.strip("/").partition("/")
    if not name:
        raise ValueError("no name of a master")
    options = _given(transport, url, path=f"/{database}")
    timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), SENTINEL_TIMEOUT_SECONDS)
    tls = {option: value for option, value in options.items() if option.startswith("ssl")}
    sentinels = {**_options(), **timeouts, **tls, "password": options.pop("sentinel_password", None)}
    manager = Sentinel(_nodes(url, SENTINEL_PORT), sentinel_kwargs=sentinels)
    pool = _MasterPool(unquote(name), manager, **_options() | options)  # type: ignore[no-untyped-call]
    return RedisClient.from_pool(_cancellable(pool))


def _cancellable(pool: ConnectionPool) -> ConnectionPool:
    """Have a pool make connections of which no command loses its cancellation."""
    kind = pool.connection_class
    pool.connection_class = type(f"Cancellable{kind.__name__}", (_Cancellable, kind), {})
    return pool


class _Cancellable(AbstractConnection):
    """A connection that sends without `asyncio.wait_for`.

    Until Python 3.12 that loses a cancellation which comes in the turn in which the command is sent: one in ten, of
    commands that are cancelled. Who waits for the end of what it cancelled would wait for ever (G10).
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """See AbstractConnection."""
        self.socket_timeout = None
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_SECONDS):
                await super().send_packed_command(command, check_health)
        finally:
            self.socket_timeout = COMMAND_TIMEOUT_SECONDS


def _cluster(transport: str, url: str) -> RedisCluster:
    # MOVED corrects one slot at a time: the library's way to ask anew breaks every connection that is in use.
    nodes = [ClusterNode(host, port) for host, port in _nodes(url, SERVER_PORT)]
    options = _given(transport, url, path=urlsplit(url).path)
    return _Cluster(startup_nodes=nodes, reinitialize_steps=0, **_options() | options)


def _given(transport: str, url: str, path: str) -> dict[str, Any]:
    """Return what an address says besides hosts, read as the library reads that of one server."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    given: dict[str, Any] = dict(parse_url(f"{transport}://{credentials}{at}host{path}?{parts.query}"))
    del given["host"]
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = True
    return given


def _nodes(url: str, default_port: int) -> list[tuple[str, int]]:
    hosts = [urlsplit(f"//{host}") for host in urlsplit(url).netloc.rpartition("@")[2].split(",")]
    if not all(host.hostname for host in hosts):
        raise ValueError("no host")
    return [(host.hostname or "", host.port or default_port) for host in hosts]


class _Cluster(RedisCluster):
    """A cluster's client that closes all its connections, also if it was about to ask for the nodes anew."""

    async def aclose(self) -> None:
        """See RedisCluster."""
        await super().aclose()
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")


class _MasterPool(SentinelConnectionPool):
    """Connections to the current master; once closed for good, those to the Sentinels are closed too."""

    async def get_master_address(self) -> tuple[str, int]:
        """See SentinelConnectionPool. Raises MasterNotFoundError in words that can be logged."""
        try:
            host, port = await super().get_master_address()  # type: ignore[no-untyped-call]
        except MasterNotFoundError:
            raise MasterNotFoundError(
                f"no Sentinel names a master {self.service_name} that is up. Do they run, are the name and "
                "sentinel_password right?"
            ) from None
        return host, port

    async def release(self, connection: AbstractConnection) -> None:
        """See ConnectionPool. A master that was replaced while it was in use is not asked again."""
        address = connection.host, connection.port  # type: ignore[attr-defined]
        if address != self.master_address:
            connection.mark_for_reconnect()
        await super().release(connection)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """See ConnectionPool."""
        await super().disconnect(inuse_connections)
        if inuse_connections:
            await self.sentinel_manager.aclose()


async def subscriber(redis: Redis) -> Connection:
    """Connect outside the pool, for subscriptions. Raises StorageUnavailable; then try again, it may lead elsewhere.

    To the server, to the master that Sentinel names now, or to any node of a cluster, where a publish reaches all.
    """
    with unavailable():
        if isinstance(redis, RedisCluster):
            await redis.initialize()
            node = redis.get_random_node()
            connection = node.connection_class(**node.connection_kwargs, retry=Retry(NoBackoff(), 0))
        else:
            connection = redis.connection_pool.make_connection()
        await connection.connect()
    return connection


def has_sentinel(redis: Redis) -> bool:
    """Return whether Sentinel says where the master is."""
    return isinstance(redis, RedisClient) and isinstance(redis.connection_pool, _MasterPool)


async def is_replaced(redis: Redis, connection: Connection) -> bool:
    """Return whether Sentinel names another master than the one that a subscriber's connection leads to.

    Then the pool leaves that one, too: for some ten seconds, until Sentinel makes it a replica, it would take entries
    that are lost with that. False if no Sentinel knows.
    """
    pool: Any = redis.connection_pool  # type: ignore[union-attr]
    try:
        address = await pool.get_master_address()
    except (RedisError, OSError):
        return False
    return bool(address != (connection.host, connection.port))


async def check(redis: Redis) -> None:
    """Return if Redis answers; of a cluster, one node. Raises StorageUnavailable."""
    with unavailable():
        if isinstance(redis, RedisCluster):
            await redis.initialize()
            await redis.ping(target_nodes=RedisCluster.DEFAULT_NODE)
        else:
            await redis.ping()


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn every failure to reach Redis, or its refusal, into StorageUnavailable."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise refusal(error) from error


def refusal(error: Exception) -> StorageUnavailable:
    """Return what a failure of Redis means: LogFull where it has reached its `maxmemory`, and so did nothing."""
    if isinstance(error, StorageUnavailable):
        return error
    if isinstance(error, OutOfMemoryError):
        return LogFull("Redis has reached its maxmemory: see whether PostgreSQL and the workers are well.")
    return StorageUnavailable(f"Redis did not carry out a command: {error}")


async def _memory_of_nodes(redis: RedisCluster) -> list[dict[str, Any]]:
    """Return what each master tells that answers: one that is down must not hide how full the others are."""
    nodes = redis.get_primaries()
    told = await asyncio.gather(
        *(redis.execute_command("INFO", "memory", target_nodes=node) for node in nodes), return_exceptions=True
    )
    answers = [_of_one(one) for one in told if not isinstance(one, BaseException)]
    for error in told if not answers else ():
        if isinstance(error, BaseException):
            raise error
    return answers


def _of_one(told: dict[str, Any]) -> dict[str, Any]:
    """Return a node's answer, which the library may give by the node's name."""
    return told if "used_memory" in told else dict(next(iter(told.values())))


async def memory(redis: Redis) -> tuple[int, int]:
    """Return the bytes that Redis uses and its `maxmemory`, 0 if it has none. Raises StorageUnavailable.

    Of a cluster, those of the fullest master.
    """
    with unavailable():
        if isinstance(redis, RedisCluster):
            await redis.initialize()
            told = await _memory_of_nodes(redis)
        else:
            told = [await redis.info("memory")]
    masters = [(int(one["used_memory"]), int(one.get("maxmemory", 0))) for one in told]
    return max(masters, key=lambda master: master[0] / (master[1] or sys.maxsize))


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

    @property
    def in_order(self) -> bool:
        """Whether the calls of a pipeline are carried out in their order: the nodes of a cluster wait for nobody."""
        return isinstance(self.redis, RedisClient)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes]) -> Any:
        """Run one script. Raises StorageUnavailable: then it ran, or not."""
        return await self.call(script.call(keys, args))

    async def call(self, call: Call) -> Any:
        """Have one call carried out. Raises StorageUnavailable: then it was, or not."""
        (reply,) = answered(await self.pipeline([call]))
        return reply

    async def pipeline(self, calls: Sequence[Call]) -> list[Any]:
        """Send all calls at once; one that was refused, or got no answer, gives its exception in place of a reply.

        A server that has just started, or become the master, knows no script: it is sent the text in place of the hash,
        which it keeps.
        """
        replies = await self._send(calls)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = [self._with_text(calls[index]) for index in unknown]
            for index, reply in zip(unknown, await self._send(again), strict=True):
                replies[index] = reply
        return replies

    def _with_text(self, call: Call) -> Call:
        scripts = (self.append, self.birth, self.trim, self.rebase, self.mark_due, self.claim, self.release)
        return ("EVAL", next(script.text for script in scripts if script.sha == call[1]), *call[2:])

    async def _send(self, calls: Sequence[Call]) -> list[Any]:
        if isinstance(self.redis, RedisCluster):
            return await _send_to_nodes(self.redis, calls)
        replies = await _replies(self.redis, calls)
        if any(isinstance(reply, ReadOnlyError) for reply in replies):
            # It was the master when we connected; the same address may lead to the new one by now.
            await self.redis.connection_pool.disconnect(inuse_connections=False)
        return replies


def answered(replies: list[Any]) -> list[Any]:
    """Return replies none of which is an exception. Raises StorageUnavailable with the first one that is."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise refusal(reply)
    return replies


async def _replies(redis: Redis, calls: Sequence[Call], **target: ClusterNode) -> list[Any]:
    try:
        with unavailable():
            async with redis.pipeline(transaction=False) as pipe:
                for call in calls:
                    pipe.execute_command(*call, **target)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
                return replies
    except StorageUnavailable as error:
        return [error] * len(calls)


async def _send_to_nodes(redis: RedisCluster, calls: Sequence[Call]) -> list[Any]:
    """Send each node of a cluster its calls, in their order, so that one which is down fails no call but its own."""
    by_node: dict[ClusterNode, list[int]] = {}
    try:
        with unavailable():
            await redis.initialize()
            for index, call in enumerate(calls):
                node = redis.nodes_manager.get_node_from_slot(redis.keyslot(_key(call)))
                by_node.setdefault(node, []).append(index)
    except StorageUnavailable as error:
        return [error] * len(calls)
    replies: list[Any] = [None] * len(calls)

    async def send(node: ClusterNode, indexes: list[int]) -> None:
        given = await _replies(redis, [calls[index] for index in indexes], target_nodes=node)
        for index, reply in zip(indexes, given, strict=True):
            replies[index] = reply
        if any(isinstance(reply, _NODE_FAILED) for reply in given):
            await _ask_who_serves(redis, node)

    await asyncio.gather(*(send(*some) for some in by_node.items()))
    return replies


def _key(call: Call) -> str:
    """Return the key, or the channel, that tells which node of a cluster is to carry out a call."""
    return str(call[3] if call[0] in ("EVALSHA", "EVAL") else call[1])


async def _ask_who_serves(redis: RedisCluster, failed: ClusterNode) -> None:
    """Learn anew which node serves which slot, from `failed` last; if nobody tells, what is known stays."""
    nodes = redis.nodes_manager
    # All that were known lately may have moved: the addresses we were given are asked, too.
    nodes.startup_nodes.update({node.name: node for node in redis.startup_nodes})
    nodes.move_node_to_end_of_cached_nodes(failed.name)
    with suppress(StorageUnavailable), unavailable():
        await nodes.initialize(last_failed_node_name=failed.name)
