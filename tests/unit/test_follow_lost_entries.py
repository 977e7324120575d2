"""Following a board whose log a failover has cut, in memory: what was said to be logged has to come (L3, L4, L10)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import cast

import pytest

from boardlog.audit import audit
from boardlog.entry import Entry, EntryKind, Payload, pack
from boardlog.errors import BoardLogError
from boardlog.follow import Follow
from boardlog.ids import BoardId, Cursor, Tag
from boardlog.keys import Keys
from boardlog.log import BoardLog, Loaded
from boardlog.stream import PUBLISH_PAYLOAD_BYTES_MAX, Append, Appended, RawEntry
from boardlog.tail import Listener, Tail
from boardlog.twin import TwinDue, TwinSnapshots, TwinStreams

BOARD = BoardId("board")


class Wire:
    """The subscription: it may hold publishes back, and lose what it holds (as a Tail)."""

    def __init__(self) -> None:
        self.held: list[bytes] | None = None
        self._listener: Listener | None = None

    def listen(self, _channel: str, listener: Listener) -> None:
        self._listener = listener

    def leave(self, _channel: str, _listener: Listener) -> None:
        self._listener = None

    def publish(self, _channel: str, message: bytes) -> None:
        if self.held is not None:
            self.held.append(message)
        elif self._listener is not None:
            self._listener.received(message)

    def reconnect(self) -> None:
        self.held = None
        if self._listener is not None:
            self._listener.subscribed()


class Book:
    """Keeps what it is told (as a Reader)."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.loads = 0

    def loaded(self, loaded: Loaded) -> None:
        self.loads += 1
        self.names += loaded.updates

    def entries(self, entries: Sequence[Entry]) -> None:
        self.names += [update for entry in entries for update in entry.updates]

    def failed(self, error: BoardLogError) -> None:
        raise error


class World:
    def __init__(self) -> None:
        self._numbers = count(1)
        self.wire, self.book = Wire(), Book()
        self.streams = TwinStreams(self._now_ms, TwinDue(self._now_ms), self.wire.publish)
        self.log = BoardLog(self.streams, TwinSnapshots(self._now_ms))
        self.follow = Follow(BOARD, self.log, cast(Tail, self.wire), Keys(), self.book)

    def _now_ms(self) -> int:
        return next(self._numbers)

    async def append(self, name: bytes) -> Cursor:
        payload = pack(Payload(EntryKind.UPDATES, (name,)))
        (appended,) = await self.streams.append_many([Append(BOARD, Tag(f"{next(self._numbers)}"), payload)])
        assert isinstance(appended, Appended)
        return appended.cursor


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.log.snapshots.create(BOARD)
    await made.log.birth(BOARD)
    made.follow.start()
    made.wire.reconnect()
    await made.follow.catch_up()
    yield made
    made.follow.stop()


async def test_L10_our_own_entry_that_a_failover_took_is_a_loss_though_nobody_else_saw_it(world: World) -> None:
    await world.append(b"one")
    world.wire.held = []
    world.follow.logged(await world.append(b"two"))
    world.streams.lose_last(BOARD, 1)
    world.wire.reconnect()
    await world.follow.catch_up()
    assert (world.book.loads, world.book.names) == (2, [b"one", b"one"])
    await audit([world.follow], world.streams)
    await world.follow.catch_up()
    assert world.book.loads == 2  # once is enough


async def test_L4_the_audit_finds_that_our_own_entry_never_came(world: World) -> None:
    await world.append(b"one")
    world.wire.held = []
    world.follow.logged(await world.append(b"two"))
    world.streams.lose_last(BOARD, 1)
    await audit([world.follow], world.streams)
    for _ in range(100):
        await asyncio.sleep(0)
    assert world.book.loads == 2


async def test_L3_an_entry_that_was_announced_and_cannot_be_read_any_more_is_a_loss(world: World) -> None:
    await world.append(b"one")
    world.wire.held = held = []
    await world.append(bytes(PUBLISH_PAYLOAD_BYTES_MAX + 1))  # its link alone is published
    world.streams.lose_last(BOARD, 1)
    world.wire.held = None
    world.wire.publish("", *held)
    await world.follow.catch_up()
    assert world.book.loads == 2


async def test_our_own_entry_is_no_loss_whether_its_answer_or_its_publish_comes_first(world: World) -> None:
    world.follow.logged(await world.append(b"one"))
    world.wire.held = held = []
    world.follow.logged(await world.append(b"two"))
    world.wire.held = None
    world.wire.publish("", *held)
    world.wire.held = []
    world.follow.logged(await world.append(b"three"))
    world.wire.reconnect()
    await world.follow.catch_up()
    assert (world.book.loads, world.book.names) == (1, [b"one", b"two", b"three"])


async def test_L1_a_log_that_is_born_between_two_reads_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bridges begin to write on an empty board at once: neither may take the other's birth for a loss."""
    world = World()
    await world.log.snapshots.create(BOARD)
    world.follow.start()
    world.wire.reconnect()
    await world.follow.catch_up()
    read_from = world.streams.read_from

    async def read_just_before(board: BoardId, cursor: Cursor) -> list[RawEntry] | None:
        read = await read_from(board, cursor)
        monkeypatch.setattr(world.streams, "read_from", read_from)
        await world.log.birth(board)
        world.wire.held = []
        await world.append(b"one")
        return read

    monkeypatch.setattr(world.streams, "read_from", read_just_before)
    await world.follow.catch_up()
    assert (world.book.loads, world.book.names) == (1, [b"one"])
    world.follow.stop()
