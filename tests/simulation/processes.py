"""The services, each composed of its real parts as its `app.py` does, on simulated stores."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from boardlog.appender import Appender
from boardlog.audit import audit_forever
from boardlog.board_state import BoardState
from boardlog.coverage import StateRead, read_state
from boardlog.errors import BoardLogError
from boardlog.follow import Following
from boardlog.grant import Grant, Role
from boardlog.ids import TAG_BYTES, BoardId, Tag, make_tag
from boardlog.leaving import Leaving, Left
from boardlog.log import BoardLog, Loaded
from boardlog.merge import Folded, difference, fold
from boardlog.publisher import Publisher
from boardlog.tail import Tail
from bridge.replicas import Replicas
from bridge.writer import Writer
from persistence_worker.compaction import Compaction
from persistence_worker.sweep import Sweep, sweep_forever
from persistence_worker.worker import Worker
from relay.connection import Connection, Limits, age_limit_seconds
from relay.drain import Leavers, drain
from relay.endpoints import _refusal
from relay.hub import Hub
from relay.outbox import Outboxes
from relay.protocol import close
from relay.session import Session
from relay.settings import RelaySettings
from tests.simulation.ledger import is_whole
from tests.simulation.line import Line
from tests.simulation.loop import Process
from tests.simulation.stores import (
    STARTED_AT_MS,
    RemoteDue,
    RemoteRedis,
    RemoteSnapshots,
    RemoteStreams,
    SimulatedPostgres,
    SimulatedRedis,
    Weather,
)

FOLD_SECONDS_MAX = 0.2
SLOW_FOLD_SECONDS_MAX = 20.0
SHARE_OF_SLOW_FOLDS = 0.2
POLLS_RARER = 5
"""A worker that finds nothing due looks again after this many times its own pause: idle looks cost the most here."""
SETTINGS = RelaySettings(redis_url="", database_url="", outbox_bytes_max=2_000)
AGE_SECONDS = (3000.0, 3000.0, 40.0)
LOOK_AFTER_SECONDS = 5.0
NOBODY = None
"""Who validates large changes: there are none here."""
DRAIN_SECONDS = 5.0
SWEEP_SECONDS = 60.0


class SlowFolds:
    """folding.Folder without its child processes: it takes a while, and what happens meanwhile happens."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    async def fold(self, base: bytes, updates: Sequence[bytes], *_: float) -> Folded:
        is_slow = self._rng.random() < SHARE_OF_SLOW_FOLDS
        await asyncio.sleep(self._rng.uniform(0, SLOW_FOLD_SECONDS_MAX if is_slow else FOLD_SECONDS_MAX))
        return fold(base, updates)

    async def read(self, state: bytes) -> StateRead:
        await asyncio.sleep(self._rng.uniform(0, FOLD_SECONDS_MAX))
        return read_state(state)

    async def difference(self, state: bytes, state_vector: bytes) -> bytes:
        await asyncio.sleep(self._rng.uniform(0, FOLD_SECONDS_MAX))
        return difference(state, state_vector)

    async def weigh(self, _: bytes) -> float:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class WatchedLog(BoardLog):
    """A log that has looked at what is loaded of it."""

    watch: Callable[[BoardId], Callable[[Loaded], None]]
    """Called when a load begins; what it returns is called with what was loaded."""

    async def load(self, board: BoardId) -> Loaded:
        look = self.watch(board)
        loaded = await BoardLog.load(self, board)
        look(loaded)
        return loaded


class WatchedState(BoardState):
    """A room's state, held to send whoever joins all that it lacks (G2)."""

    def lacking_of_base(self, state_vector: bytes) -> list[bytes]:
        sent = super().lacking_of_base(state_vector)
        if not is_whole(self._base, state_vector, sent):
            asyncio.get_running_loop().failures.append("Wrong: G2: somebody who joins is not sent all of a state")  # type: ignore[attr-defined]
        return sent


class _Service:
    """What every service has."""

    def __init__(self, name: str, redis: SimulatedRedis, postgres: SimulatedPostgres, rng: Random) -> None:
        self.process = Process(name)
        self.name = name
        self._redis = redis
        self._rng = rng
        self.weather = Weather(rng)
        self._streams = RemoteStreams(redis, self.weather)
        self._snapshots = RemoteSnapshots(postgres, self.weather)
        self._log = WatchedLog(self._streams, self._snapshots, self._new_tag, watch=redis.on_load)
        self._folds: Any = SlowFolds(rng)

    def _new_tag(self) -> Tag:
        return make_tag(self._rng.randbytes(TAG_BYTES))

    def start(self) -> None:
        self.main = self.process.start(self._run())

    async def _run(self) -> None:
        raise NotImplementedError


async def _no_marks() -> None:
    """Flush no marks: the simulated store makes them with the append."""


class Doors:
    """A relay's doors (relay/endpoints.py), as far as they are not HTTP."""

    def __init__(self) -> None:
        self.connections: dict[Connection, None] = {}
        self.is_leaving = False
        self.joining = Leaving()

    def leave(self, seconds: float) -> None:
        self.is_leaving = True
        self.joining.end(0.0, spread_seconds=seconds)

    async def left(self) -> None:
        await self.joining.ended()


class Relay(_Service):
    """A node (relay/app.py)."""

    def __init__(self, name: str, redis: SimulatedRedis, postgres: SimulatedPostgres, rng: Random) -> None:
        super().__init__(name, redis, postgres, rng)
        self.lines: dict[Line, None] = {}
        self.is_gone = False
        """Whether it has left, as it was told to."""
        self._age_seconds = rng.choice(AGE_SECONDS)

    @property
    def is_leaving(self) -> bool:
        return self.is_ready and self.doors.is_leaving

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to run."""
        return hasattr(self, "hub")

    async def _run(self) -> None:
        self.appender = Appender(self._log)
        tail, publisher = Tail(RemoteRedis(self._redis, self.weather)), Publisher(self._streams)  # type: ignore[arg-type]
        following = Following(self._log, tail, self._redis.keys)
        due = RemoteDue(self._redis, self.weather)
        self.doors, self._outboxes, self._leave = Doors(), Outboxes(SETTINGS), asyncio.Event()
        self.hub = Hub(self.name, following, due, self._folds, publisher, self.appender, self._rng.uniform)
        self.appender.on_logged = self.hub.logged
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(work)
                for work in (
                    self.appender.run(),
                    tail.run(),
                    publisher.run(),
                    audit_forever(self.hub.follows, self._streams),
                    self._look_after_forever(),
                )
            ]
            await self._leave.wait()
            await drain(Leavers(self.doors, None, self.hub, self.appender, _no_marks), DRAIN_SECONDS)  # type: ignore[arg-type]
            for task in background:
                task.cancel()
        self.is_gone = True

    def leave(self) -> None:
        """SIGTERM."""
        self.process.context.run(self._leave.set)

    def accept(self, line: Line, board: BoardId, role: Role) -> None:
        """Serve a WebSocket (relay/endpoints.py)."""
        self.lines[line] = None
        self.process.start(self._serve(line, Grant(board, role, "", every_board=False)))

    async def _serve(self, line: Line, grant: Grant) -> None:
        try:
            async with self.doors.joining.work():
                if self.doors.is_leaving:
                    raise Left("This node is shutting down.")
                room = await self.hub.join(grant.board)
        except BoardLogError as error:
            line.write(close(*_refusal(error)))
            return
        age_seconds_max = age_limit_seconds(self._age_seconds, self._rng.uniform)
        limits = Limits(SETTINGS.board_bytes_max, SETTINGS.heartbeat_seconds, age_seconds_max)
        connection = Connection(line, Session(grant), self.appender, NOBODY, self._outboxes, limits)  # type: ignore[arg-type]
        self.doors.connections[connection] = None
        try:
            await connection.serve(room)
        finally:
            del self.doors.connections[connection]
            self.hub.leave(room)
            self.lines.pop(line, None)

    async def _look_after_forever(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_AFTER_SECONDS)
            for connection in list(self.doors.connections):
                connection.look_after(loop.time())


class Bridge(_Service):
    """A bridge (bridge/app.py), without HTTP."""

    async def _run(self) -> None:
        appender, tail = Appender(self._log), Tail(RemoteRedis(self._redis, self.weather))  # type: ignore[arg-type]
        following = Following(self._log, tail, self._redis.keys)
        self.replicas = Replicas(following, self._folds, appender, self._rng.getrandbits, self._rng.uniform)
        appender.on_logged = self.replicas.logged
        self._writer = Writer(self.replicas, appender, asyncio.get_running_loop().time)
        async with asyncio.TaskGroup() as tasks:
            for work in (appender.run(), tail.run(), audit_forever(self.replicas.follows, self._streams)):
                tasks.create_task(work)

    async def write(self, board: BoardId, compose: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Carry out one agent's request."""
        await self._writer.write(board, compose)  # type: ignore[arg-type]


class Compactor(_Service):
    """A worker (persistence_worker/app.py)."""

    async def _run(self) -> None:
        due = RemoteDue(self._redis, self.weather)
        compaction = Compaction(self._log, self._folds, self._now)
        worker = Worker(due, self._streams, compaction, 2, self._rarely)
        sweep = Sweep(self._streams, self._snapshots, due)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(asyncio.Event()))
            tasks.create_task(sweep_forever(sweep, SWEEP_SECONDS, self._rng.uniform))

    def _rarely(self, lowest: float, highest: float) -> float:
        return self._rng.uniform(lowest, highest * (POLLS_RARER if self._redis.is_quiet else 1))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(STARTED_AT_MS / 1000 + asyncio.get_running_loop().time(), UTC)


class SteadyTime:
    """tenacity's `time`, by the simulated clock: its limits are in seconds that pass here."""

    sleep = staticmethod(time.sleep)

    @staticmethod
    def monotonic() -> float:
        with suppress(RuntimeError):
            return asyncio.get_running_loop().time()
        return time.monotonic()
