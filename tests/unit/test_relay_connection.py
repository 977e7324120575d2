"""One socket between its room and the appender: what its client is told to be saved, and when (L11)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import WSMessage, WSMsgType, web
from pycrdt import Doc, Text

from boardlog.appender import Appender, Source
from boardlog.errors import StorageUnavailable
from boardlog.grant import Grant, Role
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.log import Loaded
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from boardlog.snapshots import Snapshot
from boardlog.stream import Appended
from relay.connection import Connection
from relay.outbox import Outboxes
from relay.room import Room
from relay.session import Session
from relay.settings import RelaySettings
from tests.presencefakes import Clock, messages_in
from tests.rawclient import HELLO, Frame, decode, framed

BOARD = BoardId("board")
APPENDED = Appended(GENESIS, Cursor(EntryId(7, 0), Tag("tag")))
DROPPED = framed("update", EMPTY_UPDATE)


class Socket:
    """What a client sends; it hangs up at the end."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()

    def __aiter__(self) -> "Socket":
        return self

    async def __anext__(self) -> WSMessage:
        data = await self.incoming.get()
        if data is None:
            raise StopAsyncIteration
        return cast(WSMessage, type("Message", (), {"type": WSMsgType.BINARY, "data": data}))


class Transport:
    """What a client is sent, one list a write; a close frame is its code."""

    def __init__(self) -> None:
        self.writes: list[list[Frame | int]] = []

    def write(self, data: bytes) -> None:
        if data[0] == 0x88:
            self.writes.append([int.from_bytes(data[2:4], "big")])
        else:
            self.writes.append([decode(message) for message in messages_in(data)])

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0, "what waits is to wait in the outbox"

    async def taken(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        pass


class Log:
    """Takes updates, and logs them when it is told to (as an Appender)."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Source]] = []
        self.room = asyncio.Event()
        self.room.set()

    def append(self, board: BoardId, update: bytes, source: Source) -> None:
        self.waiting.append((update, source))

    async def capacity(self) -> None:
        await self.room.wait()


class Shell(Clock):
    def publish(self, message: bytes) -> None:
        pass

    def now(self) -> float:
        return self.seconds


class World:
    """A client of its own on a room of its own."""

    def __init__(self, role: Role) -> None:
        self.room = Room(BOARD, "node", Shell())
        self.load()
        self.socket, self.transport, self.log = Socket(), Transport(), Log()
        self.connection = Connection(
            cast(web.WebSocketResponse, self.socket),
            cast(asyncio.Transport, self.transport),
            self.transport.taken,
            Session(Grant(BOARD, role, "test", every_board=False)),
            cast(Appender, self.log),
            Outboxes(RelaySettings(redis_url="", database_url="")),
            age_seconds_max=3600,
        )

    def load(self) -> None:
        snapshot = Snapshot(BOARD, 0, GENESIS, GENESIS.id, EMPTY_UPDATE, EMPTY_STATE_VECTOR)
        self.room.loaded(Loaded(snapshot, [], [], GENESIS, GENESIS, linked=True))

    async def send(self, *messages: bytes) -> None:
        """Return when the relay has read them, and has written what that caused."""
        for message in messages:
            self.socket.incoming.put_nowait(message)
        await self.quiet()

    async def logged(self, count: int = 1) -> None:
        """Log the first updates that wait."""
        del self.log.waiting[:count]
        self.connection.logged(count, APPENDED)
        await self.quiet()

    async def quiet(self) -> None:
        """Return when nothing in this loop has anything left to do."""
        for _ in range(100):
            await asyncio.sleep(0)
        assert self.socket.incoming.empty()

    def taken(self) -> list[Frame | int]:
        """Return what has been written since the last call."""
        writes, self.transport.writes = self.transport.writes, []
        return [frame for write in writes for frame in write]


@asynccontextmanager
async def connected(role: Role = Role.EDITOR) -> AsyncIterator[World]:
    world = World(role)
    serving = asyncio.create_task(world.connection.serve(world.room))
    await world.quiet()
    world.taken()
    yield world
    world.socket.incoming.put_nowait(None)
    await serving
    world.room.close()


@pytest.fixture
def change() -> Callable[[str], bytes]:
    """Type into a text; every call is a message with the change."""
    doc: Doc[Any] = Doc(client_id=1)
    text = doc.get("text", type=Text)

    def typed(words: str) -> bytes:
        nonlocal text
        before = doc.get_state()
        text += words
        return framed("update", doc.get_update(before))

    return typed


def saved(count: int) -> Frame:
    return Frame("saved", number=count)


async def test_a_stock_client_is_told_nothing(change) -> None:
    async with connected() as world:
        await world.send(change("a"), DROPPED)
        await world.logged()
        world.load()
        await world.quiet()
        assert {frame.kind for frame in world.taken() if isinstance(frame, Frame)} <= {"step1", "step2", "update"}


async def test_a_hello_is_welcomed_with_the_role_and_the_count_so_far(change) -> None:
    async with connected() as world:
        await world.send(change("a"), change("b"), HELLO)
        assert world.taken() == [Frame("welcome", number=1), saved(0)]
        await world.logged()
        assert world.taken() == [saved(1)]
        await world.send(HELLO)
        assert world.taken() == [Frame("welcome", number=1), saved(1)], "whoever asks again is answered again"


async def test_a_viewer_is_told_that_it_is_one_and_its_answers_count() -> None:
    async with connected(Role.VIEWER) as world:
        await world.send(HELLO, framed("step2", b"whatever it says"))
        assert world.taken() == [Frame("welcome", number=0), saved(0), saved(1)]


async def test_an_entry_is_acknowledged_once_however_many_changes_it_holds(change) -> None:
    async with connected() as world:
        await world.send(HELLO, *(change("a") for _ in range(5)))
        world.taken()
        await world.logged(3)
        assert world.taken() == [saved(3)]
        await world.logged(2)
        assert world.taken() == [saved(5)]


async def test_what_is_dropped_counts_only_when_all_before_it_is_logged(change) -> None:
    async with connected() as world:
        await world.send(HELLO)
        world.taken()
        await world.send(DROPPED)
        assert world.taken() == [saved(1)]
        await world.send(change("a"), DROPPED, framed("step2", EMPTY_UPDATE))
        assert world.taken() == []
        await world.logged()
        assert world.taken() == [saved(4)]


async def test_presence_and_questions_do_not_count() -> None:
    async with connected() as world:
        await world.send(HELLO, framed("step1", EMPTY_STATE_VECTOR), framed("query"), framed("awareness", b"\x00"))
        assert [frame for frame in world.taken() if isinstance(frame, Frame) and frame.kind == "saved"] == [saved(0)]


async def test_L10_nothing_is_acknowledged_from_a_failed_append_on(change) -> None:
    async with connected() as world:
        await world.send(HELLO, change("a"), change("b"), DROPPED)
        await world.logged()
        world.connection.append_failed(StorageUnavailable("Redis is away."))
        await world.send(DROPPED)
        assert world.taken()[-2:] == [saved(1), 1013]


async def test_what_was_settled_when_the_socket_is_closed_is_told_before_the_close(change) -> None:
    async with connected() as world:
        await world.send(HELLO, change("a"), change("b"))
        world.taken()
        world.connection.logged(1, APPENDED)
        world.connection.append_failed(StorageUnavailable("Redis is away."))
        await world.quiet()
        assert world.taken() == [saved(1), 1013]


async def test_nothing_is_told_behind_a_close(change) -> None:
    async with connected() as world:
        await world.send(HELLO, change("a"))
        world.room.failed(StorageUnavailable("The board cannot be read."))
        world.taken()
        await world.logged()
        assert world.taken() == []


async def test_a_client_that_has_gone_is_told_nothing(change) -> None:
    async with connected() as world:
        await world.send(HELLO, change("a"))
    world.taken()
    await world.logged()
    assert world.taken() == []


async def test_L6_after_a_loss_what_was_on_its_way_does_not_count_before_the_refill(change) -> None:
    """The client waits for an answer that it gave after `unsaved`: no count before it may reach that far."""
    async with connected() as world:
        await world.send(HELLO, change("a"))
        world.taken()
        world.load()
        await world.quiet()
        told, asked = [frame for frame in world.taken() if isinstance(frame, Frame) and frame.kind != "update"]
        assert (told, asked.kind) == (Frame("unsaved"), "step1"), "told before it is asked"
        await world.logged()
        assert world.taken() == [saved(1)], "of the append that was on its way: less than the answer's number, 2"
        await world.send(framed("step2", refill()))
        assert world.taken() == []
        await world.logged()
        assert world.taken() == [saved(2)]


def refill() -> bytes:
    doc: Doc[Any] = Doc(client_id=2)
    doc["text"] = Text("refill")
    return doc.get_update()


async def test_L10_what_was_held_back_does_not_overtake_what_was_given_up(change) -> None:
    async with connected() as world:
        await world.send(change("a"))
        world.log.room.clear()
        await world.send(change("b"))
        _, source = world.log.waiting.pop()
        source.append_failed(StorageUnavailable("Redis is away."))
        world.log.room.set()
        await world.quiet()
        assert world.log.waiting == []
        assert world.taken()[-1] == 1013
