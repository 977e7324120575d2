"""Rooms and who waits for them, in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import cast

import pytest

from boardlog import board_state
from boardlog.appender import Appender
from boardlog.board_state import BoardState
from boardlog.coverage import StateRead, read_state
from boardlog.due import Due
from boardlog.entry import Entry, EntryKind, Payload, pack
from boardlog.folding import Folder
from boardlog.follow import Following
from boardlog.ids import BoardId, Cursor, EntryId, Tag
from boardlog.keys import Keys
from boardlog.log import BoardLog
from boardlog.merge import Folded, fold
from boardlog.publisher import Publisher
from boardlog.stream import Append
from boardlog.tail import Listener, Tail
from boardlog.twin import TwinDue, TwinSnapshots, TwinStreams
from relay import hub
from relay.hub import Hub
from relay.room import Room

BOARD = BoardId("board")


class Wire:
    """Takes every subscription at once (as a Tail)."""

    def listen(self, _channel: str, listener: Listener) -> None:
        asyncio.get_running_loop().call_soon(listener.subscribed)

    def leave(self, _channel: str, _listener: Listener) -> None:
        pass


class Folds:
    """Folds when it may (as a Folder)."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.read_bytes: list[int] = []
        self.may = asyncio.Event()

    async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        self.begun.append(len(updates))
        await self.may.wait()
        return fold(base, updates)

    async def read(self, state: bytes) -> StateRead:
        self.read_bytes.append(len(state))
        await self.may.wait()
        return read_state(state)


class World:
    """A hub, and a board whose log has as many updates as one likes."""

    def __init__(self) -> None:
        numbers = count(1)
        due = TwinDue(lambda: next(numbers))
        self._streams = TwinStreams(lambda: next(numbers), due, lambda _channel, _message: None)
        self.log = BoardLog(self._streams, TwinSnapshots(lambda: next(numbers)))
        following = Following(self.log, cast(Tail, Wire()), Keys())
        self.folds = Folds()
        self.hub = Hub(
            "node", following, cast(Due, due), cast(Folder, self.folds), Publisher(self._streams), Appender(self.log)
        )

    async def make(self, updates: int) -> None:
        await self.log.snapshots.create(BOARD)
        await self.log.birth(BOARD)
        await self._streams.append_many([Append(BOARD, Tag("t"), pack(entry(updates)))])

    async def join(self) -> Room:
        return await asyncio.wait_for(self.hub.join(BOARD), 5)


def entry(updates: int) -> Payload:
    return Payload(
        EntryKind.UPDATES, tuple(b"\x01\x01\x07%c\x04\x01\x01t\x01x\x00" % clock for clock in range(updates))
    )


def state_of(room: Room) -> BoardState:
    assert room.state is not None
    return room.state


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(board_state, "FOLD_UPDATES", 3)
    monkeypatch.setattr(board_state, "HEAVY_UPDATES", 6)
    world = World()
    yield world
    world.folds.may.set()
    await world.hub.close()


async def test_G6_a_fold_that_hangs_keeps_nobody_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "FOLD_WAIT_SECONDS_MAX", 0.01)
    await world.make(updates=9)
    room = await world.join()
    assert len(state_of(room).updates) == 9


async def test_a_joiner_waits_for_the_fold_of_a_long_history(world: World) -> None:
    await world.make(updates=9)
    joining = asyncio.create_task(world.join())
    await until(lambda: world.folds.begun)
    assert not joining.done()
    world.folds.may.set()
    assert not state_of(await joining).updates


async def test_a_joiner_gets_a_short_history_at_once_and_the_next_one_gets_it_folded(world: World) -> None:
    await world.make(updates=5)
    state = state_of(await world.join())
    assert len(state.updates) == 5
    await until(lambda: world.folds.begun)
    world.folds.may.set()
    await until(lambda: not state.updates)


async def test_while_nobody_joins_a_state_is_folded_now_and_then_and_at_once_when_it_is_heavy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "FOLD_PAUSE_SECONDS", 0.02)
    await world.make(updates=0)
    room = await world.join()
    world.folds.may.set()
    room.entries([Entry(Cursor(EntryId(5, 0), Tag("a")), entry(5))])
    assert not world.folds.begun
    await until(lambda: world.folds.begun)
    await until(lambda: not state_of(room).updates)
    monkeypatch.setattr(hub, "FOLD_PAUSE_SECONDS", 1000.0)
    room.entries([Entry(Cursor(EntryId(6, 0), Tag("b")), entry(9))])
    await until(lambda: world.folds.begun == [5, 9])
    await until(lambda: not state_of(room).updates)


async def test_G7_a_large_base_is_read_elsewhere_before_anybody_is_let_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hub, board_state):
        monkeypatch.setattr(module, "READ_HERE_BYTES_MAX", 1)
    await world.make(updates=1)
    joining = asyncio.create_task(world.join())
    await until(lambda: world.folds.read_bytes)
    assert not joining.done()
    world.folds.may.set()
    monkeypatch.delattr(board_state, "read_state")
    assert state_of(await joining).state_vector() == b"\x01\x07\x01"


async def test_G7_of_many_who_join_one_has_the_updates_read_in_pieces(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (hub, board_state):
        monkeypatch.setattr(module, "COVER_UPDATES_MAX", 1)
    await world.make(updates=5)
    rooms = await asyncio.gather(*(world.join() for _ in range(10)))
    assert state_of(rooms[0]).uncovered <= 1
