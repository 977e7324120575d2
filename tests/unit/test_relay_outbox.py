"""What waits for clients that take slowly: bounded, shared, and never half a message followed by another (G7)."""

import asyncio
from typing import cast

import pytest

from relay import protocol
from relay.outbox import TURN_BYTES, Outbox, Outboxes
from relay.protocol import FRAGMENT_BYTES
from relay.settings import RelaySettings
from tests.presencefakes import messages_in

MIB = 1024 * 1024
LIVE = bytes((0x82, 3)) + b"one"
"""A whole frame, as a room builds it."""
ALIVE = protocol.awareness(b"\x00")


class Transport:
    """A socket that takes so many bytes at once, and more when it is told to."""

    def __init__(self, takes: int = 0) -> None:
        self.taken = bytearray()
        self._takes = takes
        self._waiting = bytearray()
        self._drained = asyncio.Event()
        self._drained.set()

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def write(self, data: bytes) -> None:
        self._waiting += data
        self._move()

    def get_write_buffer_size(self) -> int:
        return len(self._waiting)

    def is_closing(self) -> bool:
        return False

    async def drain(self) -> None:
        await self._drained.wait()

    async def take(self, size: int) -> None:
        """Take more, and let the outbox do what it does then."""
        self._takes += size
        self._move()
        for _ in range(2 * size // FRAGMENT_BYTES + 10):
            await asyncio.sleep(0)

    def _move(self) -> None:
        part = self._waiting[: self._takes]
        del self._waiting[: len(part)]
        self._takes -= len(part)
        self.taken += part
        if self._waiting:
            self._drained.clear()
        else:
            self._drained.set()


class Pipe:
    """The way to a socket."""

    def __init__(self, transport: Transport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.taken = transport.drain


class Client:
    """A client with its outbox, and why it was closed."""

    def __init__(self, outboxes: Outboxes, takes: int = 0) -> None:
        self.transport = Transport(takes)
        self.closed: list[str] = []
        self.caught_up = 0
        self.outbox = Outbox(Pipe(self.transport), outboxes, self.closed.append, self._catch_up)

    def _catch_up(self) -> None:
        self.caught_up += 1

    def sent(self, *frames: protocol.Frame) -> None:
        for frame in frames:
            self.outbox.add(frame)
        self.outbox.write()

    def sent_state(self, *messages: protocol.Shared) -> None:
        self.outbox.add_state(messages)
        self.outbox.write()


def node(outbox_bytes_max: int = MIB, outboxes_bytes_max: int = 64 * MIB, seconds: float = 60.0) -> Outboxes:
    return Outboxes(
        RelaySettings(
            redis_url="",
            database_url="",
            outbox_bytes_max=outbox_bytes_max,
            outboxes_bytes_max=outboxes_bytes_max,
            outbox_seconds_max=seconds,
        )
    )


async def test_G7_a_board_that_many_wait_for_is_there_once() -> None:
    outboxes = node()
    board = bytes(20 * MIB)
    clients = [Client(outboxes) for _ in range(100)]
    for client in clients:
        client.sent_state(protocol.sync_step_2(board))
    assert len(board) < outboxes.waiting_bytes < len(board) + 100 * (FRAGMENT_BYTES + 1000)
    assert not any(client.closed for client in clients)


async def test_G7_news_that_many_wait_for_are_there_once() -> None:
    outboxes = node()
    news = bytes((0x82, 126)) + (60_000).to_bytes(2, "big") + bytes(60_000)
    clients = [Client(outboxes) for _ in range(1000)]
    for client in clients:
        client.sent(LIVE)
        client.sent(news)
    assert outboxes.waiting_bytes < len(news) + 1000 * 300


async def test_G7_when_all_have_taken_everything_nothing_is_counted() -> None:
    outboxes = node()
    clients = [Client(outboxes) for _ in range(3)]
    board = protocol.sync_step_2(bytes(MIB))
    for client in clients:
        client.sent_state(board)
        client.sent(LIVE)
    await clients[0].transport.take(2 * MIB)
    clients[1].outbox.close()
    await clients[2].transport.take(MIB // 2)
    assert MIB < outboxes.waiting_bytes < MIB + 2 * FRAGMENT_BYTES
    clients[2].outbox.close()
    assert outboxes.waiting_bytes == 0
    assert clients[0].caught_up == 1


async def test_a_large_board_is_one_message_and_what_came_meanwhile_is_behind_it() -> None:
    client = Client(node())
    board = bytes(range(256)) * 4096
    client.sent_state(protocol.update(b"early"), protocol.sync_step_2(board))
    await client.transport.take(3 * FRAGMENT_BYTES)
    client.sent(LIVE, ALIVE)
    await client.transport.take(2 * MIB)
    first, second, *live = messages_in(bytes(client.transport.taken))
    assert protocol.decode(first) == protocol.Update(b"early")
    assert protocol.decode(second) == protocol.SyncStep2(board)
    assert live == [b"one", *messages_in(ALIVE)]


async def test_G7_a_socket_that_takes_everything_gets_a_large_board_in_turns() -> None:
    """A mass join must not hold up those who edit: between two pieces the loop does what else there is to do."""
    client = Client(node(), takes=100 * MIB)
    client.sent_state(protocol.sync_step_2(bytes(10 * TURN_BYTES)))
    assert len(client.transport.taken) < 2 * TURN_BYTES
    await client.transport.take(10 * TURN_BYTES)
    assert len(messages_in(bytes(client.transport.taken))) == 1


async def test_G7_a_client_for_which_too_much_waits_is_closed_and_what_waits_is_forgotten() -> None:
    outboxes = node(outbox_bytes_max=MIB)
    client = Client(outboxes)
    client.sent(LIVE)
    news = [bytes((0x82, 126)) + (60_000).to_bytes(2, "big") + bytes(60_000) for _ in range(20)]
    for frame in news:
        client.sent(frame)
    assert client.closed == ["This client takes its messages too slowly."]
    assert outboxes.waiting_bytes == 0


@pytest.mark.parametrize("size", [5 * MIB, 20 * MIB])
async def test_G7_one_large_message_or_a_board_does_not_close_by_itself(size: int) -> None:
    """A refill after a loss comes to all members as one change, and may be as large as the board."""
    outboxes = node(outbox_bytes_max=MIB)
    live, joiner = Client(outboxes), Client(outboxes)
    live.sent(LIVE)
    await live.transport.take(100)
    live.sent(protocol.update(bytes(size)))
    joiner.sent_state(protocol.sync_step_2(bytes(size)))
    for client in (live, joiner):
        for _ in range(1000):
            client.sent(bytes((0x82, 100)) + bytes(100))
        assert not client.closed
        await client.transport.take(size + 200_000)
        assert len(messages_in(bytes(client.transport.taken))) == 1001 + (client is live)


async def test_G7_the_costliest_clients_make_room_not_whoever_takes_a_board_just_now() -> None:
    outboxes = node(outbox_bytes_max=8 * MIB, outboxes_bytes_max=12 * MIB)
    stuck, joiner = Client(outboxes), Client(outboxes)
    stuck.sent(protocol.update(bytes(4 * MIB)))
    stuck.outbox.behind_since -= 30
    joiner.sent_state(protocol.sync_step_2(bytes(7 * MIB)))
    assert not stuck.closed
    newest = Client(outboxes)
    newest.sent(protocol.update(bytes(3 * MIB)))
    assert stuck.closed == ["Too much waits for clients of this node, most of it for this one."]
    assert not joiner.closed
    assert not newest.closed
    assert outboxes.waiting_bytes <= 12 * MIB


async def test_G7_a_client_that_takes_nothing_is_closed_even_if_little_waits() -> None:
    client = Client(node(seconds=0.01))
    client.sent(LIVE)
    async with asyncio.timeout(10):
        while not client.closed:
            await asyncio.sleep(0.01)
    assert "taken nothing" in client.closed[0]


async def test_nothing_follows_a_message_that_was_left_off() -> None:
    """Only a control frame may come between the fragments of a message, and half of it is on its way already."""
    client = Client(node())
    client.sent_state(protocol.sync_step_2(bytes(MIB)))
    await client.transport.take(FRAGMENT_BYTES)
    client.outbox.close()
    await client.transport.take(MIB)
    before = bytes(client.transport.taken)
    client.sent(LIVE)
    client.sent_state(protocol.sync_step_2(b"again"))
    await client.transport.take(MIB)
    assert client.transport.taken == before


async def test_G7_who_asks_again_waits_until_the_first_answer_has_been_taken() -> None:
    client = Client(node())
    client.sent_state(protocol.sync_step_2(bytes(MIB)))
    client.sent(LIVE)
    waiting = asyncio.create_task(client.outbox.state_turn())
    await client.transport.take(MIB // 2)
    assert not waiting.done()
    await client.transport.take(MIB)
    assert waiting.done()
    client.sent_state(protocol.sync_step_2(bytes(MIB)))
    again = asyncio.create_task(client.outbox.state_turn())
    client.outbox.close()
    await again
