"""Redis and PostgreSQL as a process sees them: the twins of `boardlog.twin`, at the far end of a line that may fail.

A request may be late, lost on its way there (it never ran) or on its way back (it ran, and nobody was told). A
subscription is a connection of its own, in order, which may lose messages or break.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import copy_context
from random import Random
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError

from boardlog.due import Claim
from boardlog.errors import NoLog, StorageUnavailable
from boardlog.ids import BoardId, Cursor, EntryId, Tag
from boardlog.keys import Keys
from boardlog.log import Loaded
from boardlog.snapshots import BoardSummary, Quarantined, Snapshot
from boardlog.stream import Append, Appended, RawEntry
from boardlog.twin import TwinDue, TwinSnapshots, TwinStreams
from persistence_worker.plan import SETTLE_MS
from tests.simulation.line import BETWEEN_SECONDS

STARTED_AT_MS = 1_700_000_000_000
HOP_SECONDS = 0.002
"""The mean of one way between a process and a store, when nothing is wrong."""
SLOW_HOP_SECONDS_MAX = 4.0
"""Below the time after which a command is given up."""
TIMEOUT_SECONDS = 5.0
"""As redis.COMMAND_TIMEOUT_SECONDS: how long a lost message is waited for."""


class Weather:
    """How the lines are just now: chances that something goes wrong with one message."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.lost = 0.0
        """Of requests, and of replies."""
        self.late = 0.0
        self.unpublished = 0.0
        """Of published messages that one subscriber misses, though its connection stands."""

    def delay(self) -> float:
        slow = self.late and self.rng.random() < self.late
        return self.rng.uniform(0, SLOW_HOP_SECONDS_MAX) if slow else self.rng.expovariate(1 / HOP_SECONDS)

    def loses(self) -> bool:
        return bool(self.lost) and self.rng.random() < self.lost

    def unpublishes(self) -> bool:
        return bool(self.unpublished) and self.rng.random() < self.unpublished

    def clear(self) -> None:
        self.lost = self.late = self.unpublished = 0.0


class Server:
    """A store's server: it may be away, and then refuses at once."""

    def __init__(self) -> None:
        self.is_away = False
        self._context = copy_context()
        """What an operation sets off, such as messages to subscribers, does not die with whoever asked for it."""

    async def call(self, weather: Weather, operation: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Carry out an operation, at one moment. Raises StorageUnavailable: then it ran, or not."""
        await asyncio.sleep(weather.delay())
        if weather.loses():
            await asyncio.sleep(TIMEOUT_SECONDS)
            raise StorageUnavailable("The request was lost.")
        if self.is_away:
            raise StorageUnavailable("The server is away.")
        result = self._context.run(_at_once, operation())
        if weather.loses():
            await asyncio.sleep(TIMEOUT_SECONDS)
            raise StorageUnavailable("The reply was lost.")
        await asyncio.sleep(weather.delay())
        return result


def _at_once(operation: Coroutine[Any, Any, Any]) -> Any:
    try:
        operation.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("An operation of a twin waits for nothing.")


class SimulatedRedis(Server):
    """Logs, due marks and channels."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self.clock_ahead_ms = 0
        self.is_quiet = False
        """Whether nobody does anything for long."""
        self._now = now
        self._subscribers: dict[str, dict[Subscriber, None]] = {}
        self.keys = Keys()
        self.on_logged: Callable[[bytes], None] = lambda _payload: None
        """Called for each entry that is taken."""
        self.on_load: Callable[[BoardId], Callable[[Loaded], None]] = lambda _board: lambda _loaded: None
        """Called when a process begins to load a board; what it returns is called with what was loaded."""
        self.on_trimmed: Callable[[BoardId, list[RawEntry]], None] = lambda _board, _entries: None
        self.due = TwinDue(self.clock_ms)
        self.streams = TwinStreams(self.clock_ms, self.due, self._publish, self.keys)

    def clock_ms(self) -> int:
        return STARTED_AT_MS + int(self._now() * 1000) + self.clock_ahead_ms

    def _publish(self, channel: str, message: bytes) -> None:
        for subscriber in self._subscribers.get(channel, ()):
            if not subscriber.weather.unpublishes():
                subscriber.push([b"message", channel.encode(), message])

    def subscribe(self, channel: str, subscriber: "Subscriber") -> None:
        self._subscribers.setdefault(channel, {})[subscriber] = None

    def unsubscribe(self, channel: str, subscriber: "Subscriber") -> None:
        self._subscribers.get(channel, {}).pop(subscriber, None)

    def disconnect(self, subscriber: "Subscriber") -> None:
        for subscribers in self._subscribers.values():
            subscribers.pop(subscriber, None)

    def cut_subscribers(self) -> None:
        """Break every subscription, as a restart or a failover does."""
        for subscriber in {one: None for subscribers in self._subscribers.values() for one in subscribers}:
            subscriber.cut()


class RemoteRedis:
    """What `boardlog.redis.subscriber` asks of a client."""

    def __init__(self, redis: SimulatedRedis, weather: Weather) -> None:
        self._redis = redis
        self._weather = weather

    @property
    def connection_pool(self) -> "RemoteRedis":
        return self

    def make_connection(self) -> "Subscriber":
        return Subscriber(self._redis, self._weather)


class Subscriber:
    """A connection of redis-py's and its transport, as far as `boardlog.line` uses them."""

    def __init__(self, redis: SimulatedRedis, weather: Weather) -> None:
        self.weather = weather
        self.transport = self
        self._redis = redis
        self._context = copy_context()
        """Whoever connects: what arrives is handled by that process, and not if it is dead."""
        self._protocol: asyncio.Protocol | None = None
        self._commands = hiredis.Reader()
        self._arrives_at = -math.inf
        self._sent_at = -math.inf
        self._is_open = False
        self._reader = self._writer = self

    async def connect(self) -> None:
        await asyncio.sleep(self.weather.delay())
        if self._redis.is_away:
            raise RedisConnectionError("The server is away.")
        self._is_open = True

    async def disconnect(self, nowait: bool = False) -> None:
        self.abort()

    async def can_read(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return not self._is_open

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def abort(self) -> None:
        self._is_open = False
        self._redis.disconnect(self)

    def write(self, data: bytes) -> None:
        self._commands.feed(data)
        loop = asyncio.get_running_loop()
        while command := self._commands.gets():
            self._sent_at = max(self._sent_at + BETWEEN_SECONDS, loop.time() + self.weather.delay())
            loop.call_at(self._sent_at, self._carry_out, *command)

    def _carry_out(self, command: bytes, *channels: bytes) -> None:
        if not self._is_open:
            return
        if command == b"PING":
            self.push([b"pong", b""])
        for channel in channels:
            (self._redis.subscribe if command == b"SUBSCRIBE" else self._redis.unsubscribe)(channel.decode(), self)
            self.push([command.lower(), channel, b"1"])

    def push(self, reply: Sequence[bytes]) -> None:
        self._later(lambda protocol: protocol.data_received(hiredis.pack_command(tuple(reply))))

    def _later(self, tell: Callable[[asyncio.Protocol], None]) -> None:
        loop = asyncio.get_running_loop()
        self._arrives_at = max(self._arrives_at + BETWEEN_SECONDS, loop.time() + self.weather.delay())
        loop.call_at(
            self._arrives_at,
            lambda: tell(self._protocol) if self._protocol is not None else None,
            context=self._context,
        )

    def cut(self) -> None:
        self.abort()
        if self._protocol is not None:
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None, context=self._context)


class RemoteStreams:
    """stream.Streams over the line."""

    def __init__(self, redis: SimulatedRedis, weather: Weather) -> None:
        self._redis = redis
        self._weather = weather
        self._twin = redis.streams

    async def append_many(self, appends: Sequence[Append]) -> list[Appended | NoLog | StorageUnavailable]:
        return await self._redis.call(self._weather, lambda: self._append(appends))

    async def _append(self, appends: Sequence[Append]) -> list[Appended | NoLog | StorageUnavailable]:
        outcomes = await self._twin.append_many(appends)
        for append, outcome in zip(appends, outcomes, strict=True):
            if isinstance(outcome, Appended):
                self._redis.on_logged(append.payload)
        return outcomes

    async def birth(self, board: BoardId, anchor: Cursor, rebase_tag: Tag) -> None:
        await self._redis.call(self._weather, lambda: self._twin.birth(board, anchor, rebase_tag))

    async def read(self, board: BoardId) -> list[RawEntry]:
        return await self._redis.call(self._weather, lambda: self._twin.read(board))

    async def read_from(self, board: BoardId, cursor: Cursor, bytes_max: int | None = None) -> list[RawEntry] | None:
        return await self._redis.call(self._weather, lambda: self._twin.read_from(board, cursor, bytes_max))

    async def head(self, board: BoardId) -> Cursor | None:
        return await self._redis.call(self._weather, lambda: self._twin.head(board))

    async def audit(self, positions: Sequence[tuple[BoardId, Cursor]]) -> list[Cursor | None]:
        return await self._redis.call(self._weather, lambda: self._twin.audit(positions))

    async def trim(self, board: BoardId, own: Cursor, keep_from: EntryId) -> int | None:
        return await self._redis.call(self._weather, lambda: self._trim(board, own, keep_from))

    async def _trim(self, board: BoardId, own: Cursor, keep_from: EntryId) -> int | None:
        before = await self._twin.read(board)
        trimmed = await self._twin.trim(board, own, keep_from)
        self._redis.on_trimmed(board, before[: len(before) - len(await self._twin.read(board))])
        return trimmed

    async def rebase(self, board: BoardId, cursor: Cursor, tag: Tag) -> bool:
        return await self._redis.call(self._weather, lambda: self._twin.rebase(board, cursor, tag))

    async def boards(self) -> AsyncIterator[BoardId]:
        for board in await self._redis.call(self._weather, self._list):
            yield board

    async def _list(self) -> list[BoardId]:
        return [board async for board in self._twin.boards()]

    async def publish_presence(self, messages: Sequence[tuple[BoardId, bytes]]) -> None:
        await self._redis.call(self._weather, lambda: self._twin.publish_presence(messages))


class RemoteDue:
    """due.Due over the line."""

    def __init__(self, redis: SimulatedRedis, weather: Weather) -> None:
        self._redis = redis
        self._weather = weather

    async def mark(self, boards: Sequence[BoardId], delay_ms: int) -> None:
        await self._redis.call(self._weather, lambda: self._redis.due.mark(boards, delay_ms))

    async def claim(self, lease_ms: int) -> Claim | None:
        return await self._redis.call(self._weather, lambda: self._redis.due.claim(lease_ms))

    async def release(self, claim: Claim, again_after_ms: int | None) -> bool:
        return await self._redis.call(self._weather, lambda: self._redis.due.release(claim, again_after_ms))

    async def waiting(self) -> int:
        return await self._redis.call(self._weather, self._redis.due.waiting)


class SimulatedPostgres(Server):
    """Snapshots."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._clock_ms = lambda: STARTED_AT_MS + int(now() * 1000)
        self.rows = TwinSnapshots(self._clock_ms)
        self.on_stored: Callable[[Snapshot, Snapshot], None] = lambda _old, _new: None
        self._before: dict[BoardId, Snapshot] = {}

    def stored(self, old: Snapshot, new: Snapshot) -> None:
        """Note what a replica that lags still has."""
        self._before[new.board] = old
        self.on_stored(old, new)

    def fall_back(self, board: BoardId) -> Snapshot | None:
        """Forget the last snapshot of a board, as a failover to a lagging replica does; return what was forgotten.

        Only one, and none that is as old as SETTLE_MS: a replica that lags by more is no replica (L8).
        """
        old, new = self._before.pop(board, None), self.rows.now(board)
        (summary,) = self.rows.summaries_now([board])
        age_ms = self._clock_ms() - summary.updated_at.timestamp() * 1000
        if old is None or age_ms >= SETTLE_MS:
            return None
        self.rows.fall_back(old)
        return new


class RemoteSnapshots:
    """snapshots.Snapshots over the line."""

    def __init__(self, postgres: SimulatedPostgres, weather: Weather) -> None:
        self._postgres = postgres
        self._weather = weather

    async def create(self, board: BoardId) -> bool:
        return await self._postgres.call(self._weather, lambda: self._postgres.rows.create(board))

    async def load(self, board: BoardId) -> Snapshot:
        return await self._postgres.call(self._weather, lambda: self._postgres.rows.load(board))

    async def load_cursor(self, board: BoardId) -> Cursor:
        return await self._postgres.call(self._weather, lambda: self._postgres.rows.load_cursor(board))

    async def store(self, snapshot: Snapshot, quarantined: Sequence[Quarantined], *, replaces: Cursor) -> None:
        await self._postgres.call(self._weather, lambda: self._store(snapshot, quarantined, replaces))

    async def _store(self, snapshot: Snapshot, quarantined: Sequence[Quarantined], replaces: Cursor) -> None:
        old = await self._postgres.rows.load(snapshot.board)
        await self._postgres.rows.store(snapshot, quarantined, replaces=replaces)
        self._postgres.stored(old, snapshot)

    async def summaries(self, boards: Sequence[BoardId] | None = None) -> list[BoardSummary]:
        return await self._postgres.call(self._weather, lambda: self._postgres.rows.summaries(boards))

    async def quarantined(self, board: BoardId) -> list[Quarantined]:
        return await self._postgres.call(self._weather, lambda: self._postgres.rows.quarantined(board))
