"""Connecting to Redis: one server, Sentinel or cluster."""

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis as RedisClient
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
)

from boardlog.errors import InvalidSetting, LogFull, StorageUnavailable
from boardlog.requests import Call, Requests

Redis = RedisClient | RedisCluster
COMMAND_TIMEOUT_SECONDS = 5.0
SENTINEL_TIMEOUT_SECONDS = 1.0
"""A Sentinel that takes longer is passed over: the next one is asked."""
SENTINEL_PORT, SERVER_PORT = 26379, 6379


_NOT_HERE = (ReadOnlyError, RedisConnectionError)
"""Refusals after which only another connection helps: the same address may lead to the new master by now."""


class Traffic(Enum):
    """What shares a connection, and so waits for what was sent before it."""

    APPENDS = "appends"
    PRESENCE = "presence"
    """It may be much, and holds up no append."""
    REST = "rest"
    """What reads, above all: its replies may be large."""


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
            return RedisClient.from_pool(_cancellable(_Pool.from_url(url, **_options())))
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
    pool = _MasterPool(unquote(name), manager, **_options() | options)
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
    client = _Cluster(startup_nodes=nodes, reinitialize_steps=0, **_options() | options)
    for command in ("XRANGE", "XREVRANGE"):
        client.set_response_callback(command, _as_given)  # type: ignore[arg-type]
    return client


def _as_given(reply: Any, **_: Any) -> Any:
    """Return a reply as the server gives it, and as `request` returns it."""
    return reply


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


class _Pool(ConnectionPool):
    """Connections to one server, and beside them those that are kept for requests: they are left and closed together.

    What leaves idle connections is the knowledge that they lead to a server that is not the master any more.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._requests = {traffic: Requests(self._connect, COMMAND_TIMEOUT_SECONDS) for traffic in Traffic}
        super().__init__(*args, **kwargs)

    def requests(self, traffic: Traffic) -> Requests:
        """Return the way for some traffic."""
        return self._requests[traffic]

    async def disconnect(self, inuse_connections: bool = True) -> None:
        """See ConnectionPool."""
        for requests in self._requests.values():
            requests.close() if inuse_connections else requests.leave()
        await super().disconnect(inuse_connections)

    async def _connect(self) -> AbstractConnection:
        return await _connected(self.make_connection())  # type: ignore[no-untyped-call]


class _MasterPool(_Pool, SentinelConnectionPool):
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
        return await _connected(connection)


async def _connected(connection: Connection) -> Connection:
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)  # cancelled on the way, it would be left open
        raise
    return connection


async def request(redis: RedisClient, calls: Sequence[Call], traffic: Traffic) -> list[Any]:
    """Have one server carry out calls; an error reply is an exception among the replies.

    Raises StorageUnavailable: then any of them was carried out, or not. Cancelled, it leaves the same in doubt.
    """
    pool: Any = redis.connection_pool
    with unavailable():
        replies: list[Any] = await pool.requests(traffic).send(calls)
    if any(isinstance(reply, _NOT_HERE) for reply in replies):
        await pool.disconnect(inuse_connections=False)
    return replies


def has_sentinel(redis: Redis) -> bool:
    """Return whether Sentinel says where the master is."""
    return isinstance(redis, RedisClient) and isinstance(redis.connection_pool, _MasterPool)


async def is_replaced(redis: Redis, connection: AbstractConnection) -> bool:
    """Return whether Sentinel names another master than the one that a subscriber's connection leads to.

    Then the pool leaves that one, too: for some ten seconds, until Sentinel makes it a replica, it would take entries
    that are lost with that. False if no Sentinel knows.
    """
    pool: Any = redis.connection_pool  # type: ignore[union-attr]
    try:
        address = await pool.get_master_address()
    except (RedisError, OSError):
        return False
    return bool(address != (connection.host, connection.port))  # type: ignore[attr-defined]


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
