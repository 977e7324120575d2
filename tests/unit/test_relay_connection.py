"""One socket between its room and the appender: what its client is told to be saved, and when (L11)."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from pycrdt import Doc, Text
from structlog.testing import capture_logs

from boardlog.appender import Appender, Source
from boardlog.entry import Entry, EntryKind, Payload
from boardlog.errors import BoardLogError, InvalidUpdate, StorageUnavailable
from boardlog.grant import Grant, Role
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.links import Ranges
from boardlog.log import Loaded
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from boardlog.snapshots import Snapshot
from boardlog.stream import Appended
from boardlog.update import validate
from boardlog.validating import NotValidated, Validator
from relay.connection import Connection, Limits
from relay.inbox import TURN_MESSAGES_MAX
from relay.outbox import Outboxes
from relay.protocol import PING
from relay.room import Room
from relay.session import VALIDATED_HERE_BYTES_MAX, CloseCode, Session
from relay.settings import RelaySettings
from relay.socket import Listener
from tests.clientframes import client_frame
from tests.presencefakes import Clock, messages_in
from tests.rawclient import HELLO, Frame, Kind, awareness_update, decode, framed

BOARD = BoardId("board")
APPENDED = Appended(GENESIS, Cursor(EntryId(7, 0), Tag("tag")))
DROPPED = framed("update", EMPTY_UPDATE)


class Socket:
    """What a client sends: read as it comes, unless the relay reads nothing for now (as a socket.Stream)."""

    def __init__(self, transport: "Transport") -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.unread: list[bytes] = []
        self._pause = transport
        transport.on_resume = self._deliver

    def listen(self, listener: Listener) -> None:
        self._listener = listener

    async def taken(self) -> None:
        pass

    def say(self, message: bytes, opcode: int = 2) -> None:
        self.unread.append(client_frame(message, opcode=opcode))
        self._deliver()

    def say_at_once(self, messages: list[bytes]) -> None:
        """Have them arrive in one read."""
        self.unread.append(b"".join(map(client_frame, messages)))
        self._deliver()

    def hang_up(self) -> None:
        self._listener.lost()

    def _deliver(self) -> None:
        while self.unread and not self._pause.is_paused:
            self._listener.received(self.unread.pop(0))


class Transport:
    """What a client is sent, one list a write; a close frame is its code."""

    def __init__(self) -> None:
        self.writes: list[list[Frame | int]] = []
        self.is_gone = False
        self.is_paused = False
        self.pings = 0
        self.raw: list[bytes] = []
        self.waiting_bytes = 0
        self.on_resume: Callable[[], None] = lambda: None

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False
        self.on_resume()

    def write(self, data: bytes) -> None:
        self.raw.append(data)
        if data == PING:
            self.pings += 1
        elif data[0] == 0x88:
            self.writes.append([int.from_bytes(data[2:4], "big")])
        elif data[0] & 0x0F == 2:
            self.writes.append([decode(message) for message in messages_in(data)])

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0, "what waits is to wait in the outbox"

    def is_closing(self) -> bool:
        return self.is_gone

    def get_write_buffer_size(self) -> int:
        return self.waiting_bytes

    def abort(self) -> None:
        self.is_gone = True

    def close(self) -> None:
        self.is_gone = True

    def get_extra_info(self, _: str) -> "Transport":
        return self

    def setsockopt(self, *_: object) -> None:
        pass


class Log:
    """Takes updates, and logs them when it is told to (as an Appender)."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Source]] = []
        self.room = asyncio.Event()
        self.room.set()

    def append(self, board: BoardId, update: bytes, source: Source, usual: object = None) -> None:
        self.waiting.append((update, source))

    @property
    def has_room(self) -> bool:
        return self.room.is_set()

    async def capacity(self) -> None:
        await self.room.wait()


class Judge:
    """Validates when it is told to (as a Validator)."""

    def __init__(self) -> None:
        self.may_judge = asyncio.Event()
        self.error: BoardLogError | None = None

    async def validate(self, update: bytes) -> Ranges:
        await self.may_judge.wait()
        if self.error is not None:
            raise self.error
        return validate(update)


class Shell(Clock):
    def publish(self, message: bytes) -> None:
        pass

    def now(self) -> float:
        return self.seconds

    def append(self, update: bytes, source: Source) -> None:
        raise AssertionError("nothing is rebuilt here")

    def call_soon(self, callback: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def jitter(self, lowest: float, highest: float) -> float:
        return highest


class World:
    """A client of its own on a room of its own."""

    def __init__(self, role: Role) -> None:
        self.room = Room(BOARD, "node", Shell())
        self.load()
        self.transport, self.log = Transport(), Log()
        self.socket = Socket(self.transport)
        self.validator = Judge()
        self.connection = Connection(
            self.socket,
            Session(Grant(BOARD, role, "test", every_board=False)),
            cast(Appender, self.log),
            cast(Validator, self.validator),
            Outboxes(RelaySettings(redis_url="", database_url="")),
            Limits(message_bytes_max=64 * 1024 * 1024, heartbeat_seconds=30.0, age_seconds=3600.0),
        )

    def load(self) -> None:
        snapshot = Snapshot(BOARD, 0, GENESIS, GENESIS.id, EMPTY_UPDATE, EMPTY_STATE_VECTOR)
        self.room.loaded(Loaded(snapshot, [], [], GENESIS, GENESIS, linked=True))

    async def send(self, *messages: bytes) -> None:
        """Return when the relay has read them, and has written what that caused."""
        for message in messages:
            self.socket.say(message)
        await self.quiet()

    async def logged(self, count: int = 1) -> None:
        """Log the first updates that wait."""
        del self.log.waiting[:count]
        self.connection.logged(count, APPENDED)
        await self.quiet()

    async def quiet(self) -> None:
        """Return when nothing in this loop has anything left to do, and all is read."""
        await self.settled()
        assert not self.socket.unread

    async def settled(self) -> None:
        """Return when nothing in this loop has anything left to do."""
        for _ in range(100):
            await asyncio.sleep(0)

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
    world.socket.hang_up()
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


def large(kind: Kind = "update") -> bytes:
    """A change that is validated elsewhere."""
    doc: Doc[Any] = Doc(client_id=3)
    doc["text"] = Text("x" * (VALIDATED_HERE_BYTES_MAX + 1))
    return framed(kind, doc.get_update())


@pytest.mark.parametrize("kind", ["update", "step2"])
async def test_L10_nothing_overtakes_a_large_change_that_is_being_validated(change, kind: Kind) -> None:
    async with connected() as world:
        await world.send(change("a"))
        world.socket.say(large(kind))
        world.socket.say(change("b"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(world.socket.unread) == 1, "what came behind it is not read"
        assert len(world.log.waiting) == 1
        world.validator.may_judge.set()
        await world.quiet()
        assert [len(update) > VALIDATED_HERE_BYTES_MAX for update, _ in world.log.waiting] == [False, True, False]


@pytest.mark.parametrize(
    ("error", "code"), [(InvalidUpdate("It is too dear."), 4400), (NotValidated("Try again."), 1013)]
)
async def test_G6_a_large_change_that_is_refused_or_not_judged_closes_with_a_code(error, code: int) -> None:
    async with connected() as world:
        world.validator.error = error
        world.validator.may_judge.set()
        await world.send(large())
        assert world.log.waiting == []
        assert world.taken()[-1] == code


async def test_L10_a_large_change_does_not_overtake_one_that_was_given_up(change) -> None:
    async with connected() as world:
        await world.send(change("a"), large())
        world.connection.append_failed(StorageUnavailable("Redis is away."))
        world.validator.may_judge.set()
        await world.quiet()
        assert len(world.log.waiting) == 1


async def test_a_large_change_of_a_client_that_has_gone_meanwhile_is_logged_all_the_same() -> None:
    async with connected() as world:
        await world.send(large())
        world.socket.hang_up()
        world.validator.may_judge.set()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(world.log.waiting) == 1


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


async def test_G5_while_the_logs_are_full_only_what_adds_to_them_waits_and_keeps_its_order(change) -> None:
    async with connected() as world:
        in_the_log = change("a")
        await world.send(in_the_log)
        world.log.waiting.clear()
        world.room.entries([Entry(APPENDED.cursor, Payload(EntryKind.UPDATES, (body_of(in_the_log),)))])
        world.taken()
        world.log.room.clear()
        await world.send(framed("step1", EMPTY_STATE_VECTOR), framed("step2", body_of(in_the_log)), DROPPED)
        await world.send(framed("awareness", awareness_update({5: (1, {"name": "Ann"})})), framed("query"))
        kinds = [frame.kind for frame in world.taken() if isinstance(frame, Frame)]
        assert "step2" in kinds, "a joiner gets the board"
        assert "awareness" in kinds, "and who is there"
        first, second = change("b"), change("c")
        for frame in (first, framed("step1", EMPTY_STATE_VECTOR), second):
            world.socket.say(frame)
        await world.settled()
        assert world.log.waiting == []
        assert world.taken() == [], "what comes behind a change waits with it"
        world.log.room.set()
        await world.quiet()
        assert [update for update, _ in world.log.waiting] == [body_of(first), body_of(second)]


async def test_G5_what_is_held_back_is_not_counted_as_saved(change) -> None:
    async with connected() as world:
        await world.send(HELLO)
        world.taken()
        world.log.room.clear()
        await world.send(change("a"))
        assert world.taken() == []
        world.log.room.set()
        await world.quiet()
        await world.logged()
        assert world.taken() == [saved(1)]


async def test_G5_a_client_that_goes_while_it_is_held_back_leaves_the_room(change, monkeypatch) -> None:
    monkeypatch.setattr("relay.connection.HELD_POLL_SECONDS", 0.01)
    async with connected() as world:
        world.log.room.clear()
        await world.send(change("a"))
        assert world.connection in world.room.members
        world.transport.is_gone = True
        world.socket.hang_up()
        async with asyncio.timeout(10):
            await world.connection.closed()
        assert world.connection not in world.room.members
        assert world.log.waiting == [], "its author has it still, and nobody else heard of it"


async def test_G10_a_client_that_is_held_back_can_be_sent_to_another_node(change, monkeypatch) -> None:
    monkeypatch.setattr("relay.connection.HELD_POLL_SECONDS", 0.01)
    async with connected() as world:
        world.log.room.clear()
        await world.send(change("a"))
        world.connection.close(CloseCode.GOING_AWAY, "This node is shutting down.")
        world.socket.hang_up()
        async with asyncio.timeout(10):
            await world.connection.closed()
        assert world.taken()[-1] == 1012
        assert world.log.waiting == []


def body_of(update_frame: bytes) -> bytes:
    return decode(update_frame).body


def look_after(world: World, *seconds: float) -> None:
    """Look after the connection so long from now."""
    for later in seconds:
        world.connection.look_after(asyncio.get_running_loop().time() + later)


async def test_G7_a_silent_client_is_pinged_and_cut_if_it_does_not_answer() -> None:
    async with connected() as world:
        look_after(world, 0, 29)
        assert world.transport.pings == 0
        look_after(world, 31, 32, 44)
        assert world.transport.pings == 1
        assert not world.transport.is_gone
        look_after(world, 46)
        assert world.transport.is_gone


async def test_whoever_answers_a_ping_stays() -> None:
    async with connected() as world:
        look_after(world, 0, 31)
        world.socket.say(b"", opcode=10)
        look_after(world, 44, 46, 73)
        assert not world.transport.is_gone
        assert world.transport.pings == 1


async def test_G5_who_is_not_read_is_not_cut_for_its_silence(change) -> None:
    """Its answer to a ping is among what this end has not read: the log is full."""
    async with connected() as world:
        look_after(world, 0)
        world.log.room.clear()
        await world.settled()
        world.socket.say(change("a"))
        look_after(world, 31, 46, 100)
        assert not world.transport.is_gone
        world.log.room.set()
        await world.quiet()


async def test_a_ping_is_answered_with_what_it_brought() -> None:
    async with connected() as world:
        world.socket.say(b"?", opcode=9)
        await world.settled()
        assert world.transport.raw[-1] == bytes((0x8A, 1)) + b"?"


async def test_a_client_that_closes_is_answered_with_its_own_code() -> None:
    async with connected() as world:
        world.socket.say((1001).to_bytes(2, "big"), opcode=8)
        assert world.taken() == [1001]
        assert world.transport.is_gone


async def test_G7_a_client_with_thousands_of_messages_lets_others_have_their_turn() -> None:
    async with connected() as world:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while not world.socket.unread:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await asyncio.sleep(0)
        asked = framed("query")
        world.socket.say_at_once([asked] * (5 * TURN_MESSAGES_MAX))
        answers: list[Frame | int] = []
        while len(answers) < 5 * TURN_MESSAGES_MAX:
            await asyncio.sleep(0)
            answers += [frame for frame in world.taken() if isinstance(frame, Frame) and frame.kind == "awareness"]
        counting.cancel()
        assert turns >= 5


async def test_G7_nothing_is_read_while_a_client_waits_whoever_resumes_it() -> None:
    """The HTTP server resumes a connection of which much had come before we listened, after it has handed that over."""
    async with connected() as world:
        world.socket.say(large())
        assert world.transport.is_paused
        world.transport.is_paused = False
        world.socket.say(framed("query"))
        assert world.transport.is_paused
        world.validator.may_judge.set()
        await world.quiet()
        assert not world.transport.is_paused
        assert len(world.log.waiting) == 1


async def test_a_mistake_of_ours_closes_the_client_that_met_it_and_is_told() -> None:
    async with connected() as world:
        world.room.receive = None  # type: ignore[method-assign, assignment]
        with capture_logs() as told:
            await world.send(framed("awareness", awareness_update({1: (1, {})})), framed("query"))
        assert world.taken() == [1013]
        assert [(entry["event"], type(entry["exc_info"])) for entry in told] == [("connection_failed", TypeError)]


async def test_an_ended_connection_is_freed_without_the_collector(change) -> None:
    async with connected() as world:
        await world.send(change("a"))
        world.log.waiting.clear()
        gc.disable()
    try:
        kept = weakref.ref(world.validator)
        del world.validator, world.connection
        await asyncio.sleep(0)
        assert kept() is None, "the connection was the last to hold it"
    finally:
        gc.enable()
