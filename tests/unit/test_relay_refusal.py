"""A socket that is not let in: told why, listened to for its answer, and no longer (G7)."""

import asyncio
from typing import cast

from relay.refusal import FRAMES_MAX, Refusal
from relay.socket import Listener
from tests.clientframes import client_frame

CLOSE = client_frame((1000).to_bytes(2, "big"), opcode=8)


class Socket:
    """A client's end, as far as a refusal uses it (a Stream and its transport)."""

    def __init__(self) -> None:
        self.transport = cast(asyncio.Transport, self)
        self.written = b""
        self.is_closed = False

    def listen(self, listener: Listener) -> None:
        self.listener = listener

    async def taken(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True
        self.listener.lost()

    abort = close


async def test_who_is_refused_is_told_why_and_hung_up_on_once_it_has_answered() -> None:
    socket = Socket()
    closing = asyncio.create_task(Refusal(socket).close(4401, "No key."))
    await asyncio.sleep(0)
    assert int.from_bytes(socket.written[2:4], "big") == 4401
    socket.listener.received(client_frame(b"whatever it had said before"))
    assert not socket.is_closed
    socket.listener.received(CLOSE)
    await asyncio.wait_for(closing, 10)
    assert socket.is_closed


async def test_G7_a_flood_of_empty_frames_is_not_looked_through() -> None:
    socket = Socket()
    refusal = Refusal(socket)
    socket.listener.received(client_frame(b"", opcode=9) * (FRAMES_MAX + 1) + CLOSE)
    assert not socket.is_closed, "its answer is not heard: it is cut off in time"
    socket.listener.received(CLOSE)
    assert not socket.is_closed
    del refusal
