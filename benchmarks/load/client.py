"""One client: a WebSocket by hand, for a load that costs little beside what it loads."""

import asyncio
import base64
import os
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

from benchmarks.load import frames, messages
from benchmarks.load.deliveries import Feed
from benchmarks.updates import last_marker

JOIN_SECONDS_MAX = 60.0
"""What an upgrade or a join may take before the benchmark fails."""

Answer = Callable[[bytes], bytes]


def know_nothing(_state_vector: bytes) -> bytes:
    """Answer a server that asks: an empty document has nothing for it."""
    return messages.EMPTY_UPDATE


class Closed(Exception):
    """The relay ended a connection that the load needs."""


class Client(asyncio.Protocol):
    """A member of a board. Made by `connected`; `hang_up` at the end."""

    def __init__(self, answer: Answer = know_nothing) -> None:
        """Answer the relay's SyncStep1 with what `answer` makes of its state vector."""
        loop = asyncio.get_running_loop()
        self.feed: Feed | None = None
        """Whose changes this client counts as delivered to it."""
        self.seen = 0
        """The number of the last change that came."""
        self.frames = self.bytes = 0
        """What came so far, frames of every kind."""
        self.kept: list[bytes] | None = None
        """The updates that came, if they are to be kept: begin with a list."""
        self.end: str | None = None
        """Why this connection ended."""
        self._answer = answer
        self._sent = self._saved = 0
        self._transport: asyncio.Transport
        self._upgraded: asyncio.Future[None] = loop.create_future()
        self._joined: asyncio.Future[float] = loop.create_future()
        self._changed = asyncio.Event()
        self._reader: frames.FrameReader | None = None
        self._head = self._newest = b""
        self._parts: list[bytes] = []

    async def upgrade(self, url: str) -> None:
        """Become a WebSocket. Raises Closed, TimeoutError."""
        address = urlsplit(url)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {address.path}?{address.query} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(JOIN_SECONDS_MAX):
            await self._upgraded

    async def join(self, state_vector: bytes = messages.EMPTY_STATE_VECTOR) -> float:
        """Ask for what this client lacks; return when it had all of it. Raises Closed, TimeoutError."""
        self.send(messages.step_1(state_vector))
        async with asyncio.timeout(JOIN_SECONDS_MAX):
            return await self._joined

    async def all_saved(self) -> None:
        """Return once all that this client has sent is in the log. It hears of that from now on. Raises Closed."""
        self.send(messages.HELLO)
        while self._saved < self._sent:
            if self.end is not None:
                raise Closed(self.end)
            self._changed.clear()
            await self._changed.wait()

    def send(self, message: bytes) -> None:
        """Send a message at once, or as soon as the kernel takes it."""
        if message.startswith(messages.CHANGES):
            self._sent += 1
        self._transport.write(frames.masked(message))

    def hang_up(self) -> None:
        """End the connection."""
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.end = self.end or f"The connection was lost: {error}."
        self._changed.set()
        for waited_for in (self._upgraded, self._joined):
            if not waited_for.done():
                waited_for.set_exception(Closed(self.end))
                waited_for.exception()  # nobody may wait for it

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._reader is None:
            data = self._answered(data)
        self.bytes += len(data)
        if self._reader is None:
            return
        for frame in self._reader.feed(data):
            self._take(frame)
        if self.feed is not None and self._newest:
            self.seen = self.feed.take(self.seen, last_marker(self._newest), time.monotonic())
            self._newest = b""

    def _answered(self, data: bytes) -> bytes:
        """Take the answer to the upgrade; return what follows it."""
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
        elif b" 101 " in head.partition(b"\r\n")[0]:
            self._reader = frames.FrameReader()
            self._upgraded.set_result(None)
        else:
            self.end = head.decode(errors="replace")
            self.hang_up()
        return rest

    def _take(self, frame: frames.Frame) -> None:
        self.frames += 1
        if frame.opcode in {frames.BINARY, frames.CONTINUATION}:
            if frame.is_final and not self._parts:
                self._message(frame.payload)
                return
            self._parts.append(frame.payload)
            if frame.is_final:
                message = b"".join(self._parts)
                self._parts.clear()
                self._message(message)
        elif frame.opcode == frames.PING:
            self._transport.write(frames.masked(frame.payload, frames.PONG))
        elif frame.opcode == frames.CLOSE:
            code = int.from_bytes(frame.payload[:2], "big")
            self.end = f"The relay closed it with {code} {frame.payload[2:].decode(errors='replace')!r}."
            self.hang_up()

    def _message(self, message: bytes) -> None:
        kind = message[:2]
        if kind == messages.UPDATE:
            self._newest = message  # it tells of all that came with it
            if self.kept is not None:
                self.kept.append(messages.body_of(message))
        elif kind == messages.STEP_1:
            self.send(messages.step_2(self._answer(messages.body_of(message))))
        elif kind == messages.STEP_2:
            if self.kept is not None:
                self.kept.append(messages.body_of(message))
            if not self._joined.done():
                self._joined.set_result(time.monotonic())
        elif kind == messages.SAVED:
            self._saved = messages.count_of(message)
            self._changed.set()


async def connected(url: str, answer: Answer = know_nothing) -> Client:
    """Return a client whose WebSocket is open; it has not joined yet. Raises OSError, Closed, TimeoutError."""
    address = urlsplit(url)
    client = Client(answer)
    await asyncio.get_running_loop().create_connection(lambda: client, address.hostname or "", address.port or 80)
    try:
        await client.upgrade(url)
    except BaseException:
        client.hang_up()
        raise
    return client
