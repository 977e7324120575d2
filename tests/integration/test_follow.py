"""Following a board without a gap (G2), while everything around the reader goes wrong (L2 to L6)."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from boardlog import database as database_module
from boardlog import redis as redis_module
from boardlog.audit import audit
from boardlog.entry import Entry, EntryKind, Payload, pack
from boardlog.errors import BoardLogError, BoardNotFound, StaleSnapshot
from boardlog.follow import Follow
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.keys import Keys
from boardlog.log import BoardLog, Loaded, random_tag
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from boardlog.redis import Redis
from boardlog.scripts import Scripts
from boardlog.snapshots import PostgresSnapshots, Snapshot
from boardlog.stream import PAGE_ENTRIES, Append, Appended, RawEntry, RedisStreams
from boardlog.tail import Listener, Tail

BOARD = BoardId("board")


class Book:
    """Keeps every update it is given; a state is a list of names, joined, so that no CRDT hides a loss."""

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self.in_order: list[bytes] = []
        self.loads = 0
        self.error: BoardLogError | None = None

    def loaded(self, loaded: Loaded) -> None:
        self.loads += 1
        for name in [*names_in(loaded.snapshot.state), *loaded.updates]:
            self._take(name)

    def entries(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            for name in entry.updates:
                self._take(name)

    def failed(self, error: BoardLogError) -> None:
        self.error = error

    def _take(self, name: bytes) -> None:
        if name not in self.names:
            self.names.add(name)
            self.in_order.append(name)


class LossyTail(Tail):
    """Loses some publishes on their way to the listeners, as a subscriber's full buffer would."""

    def __init__(self, redis: Redis, rng: random.Random) -> None:
        super().__init__(redis, linger_seconds=0)
        self.rng = rng
        self.loss = 0.0

    def listen(self, channel: str, listener: Listener) -> None:
        super().listen(channel, _Lossy(self, listener))


class _Lossy:
    def __init__(self, tail: LossyTail, listener: Listener) -> None:
        self._tail = tail
        self._listener = listener

    def subscribed(self) -> None:
        self._listener.subscribed()

    def received(self, message: bytes) -> None:
        if self._tail.rng.random() >= self._tail.loss:
            self._listener.received(message)


@dataclass
class World:
    redis: Redis
    keys: Keys
    log: BoardLog
    tail: LossyTail

    async def append(self, name: bytes, board: BoardId = BOARD) -> Cursor:
        """Log a name, giving birth where that is needed."""
        while True:
            append = Append(board, random_tag(), pack(Payload(EntryKind.UPDATES, (name,))))
            (outcome,) = await self.log.streams.append_many([append])
            if isinstance(outcome, Appended):
                return outcome.cursor
            await self.log.birth(board)

    async def compact(self) -> None:
        """Fold names as a worker folds updates: load, store by compare-and-set, trim to the snapshot before."""
        loaded = await self.log.load(BOARD)
        if not loaded.in_stream or loaded.cursor == loaded.snapshot.cursor:
            return
        state = join_names([*names_in(loaded.snapshot.state), *loaded.updates])
        old = loaded.snapshot
        new = Snapshot(BOARD, old.version + 1, loaded.cursor, old.cursor.id, state, EMPTY_STATE_VECTOR)
        with suppress(StaleSnapshot):
            await self.log.snapshots.store(new, [], replaces=old.cursor)
            await self.log.streams.trim(BOARD, new.cursor, old.cursor.id)


@pytest.fixture
async def world(redis_url: str, redis_key_prefix: str, database: str) -> AsyncIterator[World]:
    redis = redis_module.connect(redis_url)
    pool = await database_module.connect(database)
    keys = Keys(redis_key_prefix)
    log = BoardLog(RedisStreams(redis, Scripts(redis), keys), PostgresSnapshots(pool))
    await log.snapshots.create(BOARD)
    tail = LossyTail(redis, random.Random(1))
    task = asyncio.create_task(tail.run())
    yield World(redis, keys, log, tail)
    task.cancel()
    await asyncio.wait([task])
    await redis.aclose()
    await pool.close()


@asynccontextmanager
async def following(world: World, board: BoardId = BOARD) -> AsyncIterator[tuple[Follow, Book]]:
    book = Book()
    follow = Follow(board, world.log, world.tail, world.keys, book)
    follow.start()
    try:
        yield follow, book
    finally:
        follow.stop()


async def test_G2_a_reader_gets_what_was_and_what_comes(world: World) -> None:
    before = [await world.append(b"before-%d" % number) for number in range(5)]
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        assert follow.cursor == before[-1]
        last = [await world.append(b"after-%d" % number) for number in range(50)][-1]
        await until(lambda: follow.cursor == last)
        assert len(book.names) == 55
        assert book.loads == 1


async def test_G2_nothing_is_missed_while_publishes_are_lost_connections_broken_and_the_log_trimmed(
    world: World,
) -> None:
    world.tail.loss = 0.1
    rng = random.Random(7)
    written: list[bytes] = []

    async def write(author: int) -> None:
        for number in range(150):
            written.append(b"%d-%d" % (author, number))
            await world.append(b"%d-%d" % (author, number))

    async def disturb() -> None:
        while len(written) < 450:
            await world.compact()
            if rng.random() < 0.3:
                await world.redis.client_kill_filter(_type="pubsub")

    async with following(world) as (follow, book), following_again(world) as latecomers:
        await asyncio.gather(*(write(author) for author in range(3)), disturb())
        world.tail.loss = 0.0
        last = await world.append(b"last")
        await until(lambda: follow.cursor == last)
        assert book.names == {*written, b"last"}
        for author in range(3):
            mine = [name for name in book.in_order if name.startswith(b"%d-" % author)]
            assert mine == sorted(mine, key=lambda name: int(name.split(b"-")[1]))
        assert latecomers
        assert (await world.log.streams.head(BOARD)) == last


@asynccontextmanager
async def following_again(world: World) -> AsyncIterator[list[Loaded]]:
    """Load the board all the while: no load may lack what an earlier one had (L2)."""
    loads: list[Loaded] = []
    seen: set[bytes] = set()
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            loaded = await world.log.load(BOARD)
            names = {*names_in(loaded.snapshot.state), *loaded.updates}
            assert seen <= names
            seen.update(names)
            loads.append(loaded)

    task = asyncio.create_task(load())
    try:
        yield loads
    finally:
        stop.set()
        await task


async def test_L2_two_compactions_between_the_two_reads_of_a_load_take_nothing_away(world: World) -> None:
    """The stream is read first: what is trimmed behind that read is in the snapshot that is read second."""
    first = await world.append(b"first")
    log = BoardLog(_Interrupted(world.log.streams, world), _Interrupted(world.log.snapshots, world))
    loaded = await log.load(BOARD)
    assert first.id < (await world.log.streams.read(BOARD))[0].cursor.id, "the entry was to be trimmed meanwhile"
    assert b"first" in {*names_in(loaded.snapshot.state), *loaded.updates}


async def test_L2_a_log_that_is_lost_between_two_pages_is_not_read_as_one_with_the_next(world: World) -> None:
    streams = world.log.streams
    assert isinstance(streams, RedisStreams)
    for number in range(PAGE_ENTRIES + 1):
        await world.append(b"lost %d" % number)

    class Losing(RedisStreams):
        pages = 0

        async def _range(self, board: BoardId, start: str, count: int) -> list[RawEntry]:
            Losing.pages += 1
            if Losing.pages == 2:
                await streams.delete(board)
                await world.append(b"new")
            return await super()._range(board, start, count)

    loaded = await BoardLog(Losing(world.redis, streams.scripts, world.keys), world.log.snapshots).load(BOARD)
    assert loaded.updates == [b"new"]


class _Interrupted:
    """Streams or snapshots: after the first read of either, the board is compacted until its old entries are gone."""

    interrupted = False

    def __init__(self, inner: object, world: World) -> None:
        self._inner = inner
        self._world = world
        _Interrupted.interrupted = False

    async def read(self, board: BoardId) -> object:
        return await self._then_compact(await self._inner.read(board))

    async def load(self, board: BoardId) -> object:
        return await self._then_compact(await self._inner.load(board))

    async def _then_compact(self, result: object) -> object:
        if not _Interrupted.interrupted:
            _Interrupted.interrupted = True
            for name in (b"second", b"third"):
                await self._world.compact()
                await self._world.append(name)
            await self._world.compact()
        return result


async def test_L3_a_lost_log_is_noticed_by_the_next_publish(world: World) -> None:
    await world.append(b"kept")
    await world.compact()
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        await world.append(b"lost with the log, seen before")
        await until(lambda: len(book.names) == 2)
        await world.redis.delete(world.keys.log(BOARD))
        last = await world.append(b"after the loss")
        await until(lambda: follow.cursor == last)
        assert book.loads == 2
        assert b"after the loss" in book.names


async def test_L3_an_id_given_again_to_another_entry_is_noticed_by_its_tag(world: World) -> None:
    await world.append(b"kept")
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        mine = follow.cursor
        assert mine is not None
        # What a failover with a slow clock does: the same id, other bytes, and a link that names the id alone rightly.
        await world.redis.delete(world.keys.log(BOARD))
        fields = {"t": "other", "p": pack(Payload(EntryKind.UPDATES, (b"theirs",)))}
        await world.redis.xadd(world.keys.log(BOARD), fields, id=str(mine.id))
        last = await world.append(b"next")
        await until(lambda: follow.cursor == last)
        assert {b"theirs", b"next"} <= book.names
        assert book.loads == 2


async def test_L4_the_audit_finds_a_lost_publish_though_nobody_writes_any_more(world: World) -> None:
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        world.tail.loss = 1.0
        last = await world.append(b"announced to nobody")
        await audit([follow], world.log.streams)
        await until(lambda: follow.cursor == last)
        assert b"announced to nobody" in book.names


async def test_L4_the_audit_finds_a_lost_log_though_nobody_writes_any_more(world: World) -> None:
    await world.append(b"kept")
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        await world.redis.delete(world.keys.log(BOARD))
        await audit([follow], world.log.streams)
        await until(lambda: book.loads == 2)
        for _ in range(3):  # a board without a log is no news: it is not loaded over and over
            await audit([follow], world.log.streams)
        last = await world.append(b"next")
        await until(lambda: follow.cursor == last)
        assert book.loads == 2


async def test_G4_an_acknowledged_entry_that_a_failover_took_is_noticed_by_the_audit(world: World) -> None:
    await world.append(b"kept")
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        lost = await lost_by_a_failover(world)
        follow.logged(lost)
        await audit([follow], world.log.streams)
        await until(lambda: book.loads == 2)
        for _ in range(3):  # it is told once: what is gone is not looked for over and over
            await audit([follow], world.log.streams)
        last = await world.append(b"next")
        await until(lambda: follow.cursor == last)
        assert book.loads == 2


async def test_G4_an_acknowledged_entry_that_a_failover_took_is_noticed_by_the_entry_after_it(world: World) -> None:
    await world.append(b"kept")
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        lost = await lost_by_a_failover(world)
        follow.logged(lost)
        await world.append(b"next")
        await until(lambda: book.loads == 2)
        assert book.names == {b"kept", b"next"}


async def test_an_acknowledged_entry_that_comes_late_or_came_before_is_no_loss(world: World) -> None:
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        for number in range(3):
            world.tail.loss = 1.0 if number == 1 else 0.0
            cursor = await world.append(b"%d" % number)
            if number == 2:
                await until(lambda: len(book.names) == 3)
            follow.logged(cursor)
        for _ in range(3):
            await audit([follow], world.log.streams)
        assert (book.loads, len(book.names)) == (1, 3)


async def lost_by_a_failover(world: World) -> Cursor:
    """Log an entry of which nobody hears, and which is gone afterwards with all that was younger than it."""
    world.tail.loss = 1.0
    cursor = await world.append(b"acknowledged and lost")
    await world.redis.xdel(world.keys.log(BOARD), str(cursor.id))
    world.tail.loss = 0.0
    return cursor


async def test_L6_a_rebase_makes_every_reader_reload(world: World) -> None:
    """A reader whose cursor is the stale head sees a perfectly linked stream, but lacks what only the snapshot has."""
    cursor = await world.append(b"kept")
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        ahead = Cursor(EntryId(cursor.id.ms + 5000, 0), Tag("lost"))
        state = join_names([b"kept", b"only in the snapshot"])
        snapshot = Snapshot(BOARD, 1, ahead, cursor.id, state, EMPTY_STATE_VECTOR)
        await world.log.snapshots.store(snapshot, [], replaces=GENESIS)
        assert await world.log.streams.rebase(BOARD, ahead, random_tag())
        await until(lambda: book.loads == 2)
        assert b"only in the snapshot" in book.names
        assert follow.cursor is not None
        await until(lambda: follow.cursor is not None and follow.cursor.id > ahead.id)


async def test_L3_an_entry_too_large_to_publish_is_read_from_the_stream(world: World) -> None:
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        large = b"x" * 100_000
        last = await world.append(large)
        await until(lambda: follow.cursor == last)
        assert large in book.names
        assert book.loads == 1


async def test_catch_up_returns_when_everything_logged_before_it_is_here(world: World) -> None:
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        world.tail.loss = 1.0
        for number in range(20):
            name = b"%d" % number
            await world.append(name)
            await follow.catch_up()
            assert name in book.names


async def test_a_board_without_a_log_is_not_loaded_again_and_again(world: World) -> None:
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        for _ in range(3):
            await follow.catch_up()
        assert book.loads == 1
        last = await world.append(b"first")
        await follow.catch_up()
        assert follow.cursor == last


async def test_a_board_that_does_not_exist_fails_its_reader(world: World) -> None:
    async with following(world, BoardId("nowhere")) as (_, book):
        await until(lambda: book.error is not None)
        assert isinstance(book.error, BoardNotFound)


async def test_a_reader_that_fails_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = BoardId("other")
    await world.log.snapshots.create(other)
    async with following(world) as (_, faulty), following(world, other) as (healthy, book):
        await until(lambda: faulty.loads == book.loads == 1)

        def fail(entries: Sequence[Entry]) -> None:
            raise RuntimeError("a fault of ours")

        monkeypatch.setattr(faulty, "entries", fail)
        await world.append(b"breaks the one")
        await until(lambda: faulty.error is not None)
        last = await world.append(b"reaches the other", other)
        await until(lambda: healthy.cursor == last)
        assert book.names == {b"reaches the other"}


async def test_an_unreadable_entry_stops_nobody(world: World) -> None:
    async with following(world) as (follow, book):
        await until(lambda: book.loads == 1)
        await world.append(b"before")
        (outcome,) = await world.log.streams.append_many([Append(BOARD, random_tag(), b"\xc1 not a payload")])
        assert isinstance(outcome, Appended)
        last = await world.append(b"after")
        await until(lambda: follow.cursor == last)
        assert book.names == {b"before", b"after"}
        assert [bad.cursor for bad in (await world.log.load(BOARD)).unreadable] == [outcome.cursor]


def join_names(names: Sequence[bytes]) -> bytes:
    return b"\n".join(dict.fromkeys(names))


def names_in(state: bytes) -> list[bytes]:
    return state.split(b"\n") if state != EMPTY_UPDATE else []


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
