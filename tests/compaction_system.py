"""One board on real servers, with what the tests of its compaction need: authors, pauses, a clock that can be moved."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import asyncpg
from pycrdt import Doc, Map

from boardlog import database as database_module
from boardlog import redis as redis_module
from boardlog.due import Claim, RedisDue
from boardlog.entry import EntryKind, Payload, pack
from boardlog.ids import GENESIS, BoardId, Cursor
from boardlog.keys import Keys
from boardlog.log import BoardLog, random_tag
from boardlog.merge import Folded, fold
from boardlog.redis import Redis
from boardlog.scripts import Scripts
from boardlog.snapshots import PostgresSnapshots, Snapshot, Snapshots
from boardlog.stream import Append, Appended, RedisStreams, Streams
from persistence_worker.compaction import Compaction, Folds, utc_now
from persistence_worker.plan import SETTLE_MS
from persistence_worker.worker import Worker

BOARD = BoardId("board")


class InProcess:
    """Folds at once, and calls `before` first: what happens while a worker folds."""

    def __init__(self, before: Callable[[], Awaitable[object]] | None = None) -> None:
        self.before = before

    async def fold(self, base: bytes, updates: Sequence[bytes], board_seconds_max: float = 0) -> Folded:
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        return fold(base, updates)

    async def weigh(self, state: bytes) -> float:
        return 0.0


class Pausing:
    """Stands before a store and makes every call wait a random while, on its way there and back."""

    def __init__(self, store: Any, rng: random.Random) -> None:
        self._store = store
        self._rng = rng

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def paused(*args: Any, **named: Any) -> Any:
            await asyncio.sleep(self._rng.random() * 0.01)
            reply = await getattr(self._store, name)(*args, **named)
            await asyncio.sleep(self._rng.random() * 0.01)
            return reply

        return paused


class Author:
    """Writes keys of its own into the map of a document of its own."""

    def __init__(self) -> None:
        self._doc: Doc[Any] = Doc()
        self._map = self._doc.get("items", type=Map)

    def write(self, **values: Any) -> bytes:
        before = self._doc.get_state()
        with self._doc.transaction():
            for key, value in values.items():
                self._map[key] = value
        return self._doc.get_update(before)


def items_in(*updates: bytes) -> dict[str, Any]:
    """Return the map that these updates make."""
    doc: Doc[Any] = Doc()
    items = doc.get("items", type=Map)
    for update in updates:
        doc.apply_update(update)
    return cast("dict[str, Any]", items.to_py())


@dataclass
class System:
    """One board with its stores, and a clock that can be moved on."""

    redis: Redis
    keys: Keys
    streams: Streams
    snapshots: Snapshots
    due: RedisDue
    ahead: timedelta = timedelta()
    folds: Folds = field(default_factory=InProcess)

    @property
    def log(self) -> BoardLog:
        return BoardLog(self.streams, self.snapshots)

    @property
    def compaction(self) -> Compaction:
        return Compaction(self.log, self.folds, self.now)

    @property
    def worker(self) -> Worker:
        return Worker(self.due, self.streams, self.compaction, boards_max=1)

    def now(self) -> datetime:
        return utc_now() + self.ahead

    async def append(self, *updates: bytes) -> Cursor:
        """Append one entry with these updates."""
        return await self.append_packed(pack(Payload(EntryKind.UPDATES, updates)))

    async def append_packed(self, payload: bytes) -> Cursor:
        (appended,) = await self.streams.append_many([Append(BOARD, random_tag(), payload)])
        assert isinstance(appended, Appended), appended
        return appended.cursor

    async def replace_log(self) -> None:
        """Lose the log, and have it born again by somebody who knows only the snapshot of the board's beginning."""
        await self.redis.delete(self.keys.log(BOARD))
        await self.streams.birth(BOARD, GENESIS, random_tag())

    async def snapshot(self) -> Snapshot:
        return await self.snapshots.load(BOARD)

    async def items(self) -> dict[str, Any]:
        """Return what a joiner sees: snapshot and log."""
        loaded = await self.log.load(BOARD)
        return items_in(loaded.snapshot.state, *loaded.updates)

    async def length(self) -> int:
        return int(await self.redis.xlen(self.keys.log(BOARD)))

    async def due_in_ms(self) -> float | None:
        """Return when the board is due, in ms from now on Redis' clock; None if it is not marked."""
        score = await self.redis.zscore(self.keys.due, BOARD)
        seconds, micros = await self.redis.time()
        return None if score is None else float(score) - seconds * 1000 - micros / 1000

    async def claim(self) -> Claim:
        await self.due.mark([BOARD], 0)
        claim = await self.due.claim(60_000)
        assert claim is not None
        return claim

    def settle(self) -> None:
        """Let the snapshot become old."""
        self.ahead += timedelta(milliseconds=SETTLE_MS)


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """Create a database on this server, yield its url, drop it."""
    name = f"compaction_{secrets.token_hex(6)}"

    async def on_server(sql: str) -> None:
        connection = await asyncpg.connect(server_url)
        await connection.execute(sql)
        await connection.close()

    asyncio.run(on_server(f"CREATE DATABASE {name}"))
    try:
        yield f"{server_url.rpartition('/')[0]}/{name}"
    finally:
        asyncio.run(on_server(f"DROP DATABASE {name} WITH (FORCE)"))


@asynccontextmanager
async def new_system(redis_url: str, database_url: str) -> AsyncIterator[System]:
    """Make the tables if they are missing, drop all boards, create BOARD with its log."""
    redis = redis_module.connect(redis_url)
    pool = await database_module.connect(database_url)
    await database_module.migrate(pool)
    await pool.execute("TRUNCATE canvas_snapshots CASCADE")
    keys, scripts = Keys(f"test-{secrets.token_hex(6)}:"), Scripts(redis)
    snapshots = PostgresSnapshots(pool)
    system = System(redis, keys, RedisStreams(redis, scripts, keys), snapshots, RedisDue(redis, scripts, keys))
    await snapshots.create(BOARD)
    await system.log.birth(BOARD)
    try:
        yield system
    finally:
        names = [name async for name in redis.scan_iter(match=f"{keys.prefix}*")]
        if names:
            await redis.delete(*names)
        await redis.aclose()
        await pool.close()
