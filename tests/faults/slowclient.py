"""Clients on bare sockets that read slowly, or not at all, or vanish; and what they do to a relay's memory."""

import asyncio
import base64
import os
import re
import select
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.rawclient import EMPTY_STATE_VECTOR, framed
from tests.services import Service

RECEIVE_BUFFER_BYTES = 4096
"""What the kernel takes for a client that does not read: little, so that it is the relay to which it is slow."""
SECONDS_MAX = 20.0
CUT = "cut"
_CLOSE = 0x88


@dataclass(slots=True)
class SlowClient:
    """One socket to a relay. It answers no ping and no close, and reads only what the test has it read."""

    sock: socket.socket
    _read: bytearray = field(default_factory=bytearray)

    async def ask(self, state_vector: bytes = EMPTY_STATE_VECTOR) -> None:
        """Ask for the board's state."""
        await self.send(_masked(framed("step1", state_vector)))

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read(self, size: int) -> bool:
        """Read at most so many bytes; say whether the socket goes on."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, size)
        except ConnectionError:
            return False
        self._read += data
        return bool(data)

    async def forget(self, size: int = 65536) -> bool:
        """Read, and keep nothing of it."""
        goes_on = await self.read(size)
        self._read.clear()
        return goes_on

    def is_reset(self) -> bool:
        """Say whether the relay has ended this connection, whatever of it has not been read."""
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return bool(poll.poll(0))

    async def read_to_the_end(self) -> list[tuple[int, bytes]]:
        """Read until the relay closes or resets; return all whole frames, strictly decoded: (first byte, payload)."""
        async with asyncio.timeout(SECONDS_MAX):
            while await self.read(65536):
                if _frames(self._read)[-1:] and _frames(self._read)[-1][0] == _CLOSE:
                    break
        return _frames(self._read)


def close_code(frames: list[tuple[int, bytes]]) -> int | str:
    """Return the code of the close frame at the end, or CUT."""
    if frames and frames[-1][0] == _CLOSE:
        return int.from_bytes(frames[-1][1][:2], "big")
    return CUT


@asynccontextmanager
async def slow_client(port: int, board: str, key: str, *, finished: bool = True) -> AsyncIterator[SlowClient]:
    """Connect; `finished`: end the handshake. Hangs up without a word."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setblocking(False)  # noqa: FBT003  the standard library has it so
        await loop.sock_connect(sock, ("127.0.0.1", port))
        client = SlowClient(sock)
        request = (
            f"GET /ws/{board}?apiKey={key} HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        ).encode()
        await client.send(request if finished else request[: len(request) // 2])
        if finished:
            while b"\r\n\r\n" not in client._read:
                assert await client.read(4096), "the relay hung up"
            head, _, first_frames = bytes(client._read).partition(b"\r\n\r\n")
            assert b" 101 " in head, head
            client._read[:] = first_frames
        yield client
    finally:
        sock.close()


def begun_frame(size: int, sent: int) -> bytes:
    """Return the beginning of a binary frame that announces `size` bytes and brings only `sent` of them."""
    return b"\x82\xff" + size.to_bytes(8, "big") + bytes(4 + sent)


def rss_bytes(relay: Service) -> int:
    """Return what a process holds in memory."""
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    (kibibytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kibibytes) * 1024


class Peak:
    """The most that a relay held while this was watched."""

    def __init__(self, relay: Service) -> None:
        self.bytes = 0
        self._relay = relay

    async def __aenter__(self) -> "Peak":
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        with suppress(asyncio.CancelledError):
            await self._watching

    async def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, rss_bytes(self._relay))
            await asyncio.sleep(0.02)


async def metric(relay: Service, name: str) -> float:
    """Return a metric of a relay, one without labels."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
        page = (await reader.read(-1)).decode()
    finally:
        writer.close()
    (value,) = re.findall(rf"^{name} (\S+)$", page, re.MULTILINE)
    return float(value)


def _masked(message: bytes) -> bytes:
    size = len(message)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x82" + length + bytes(4) + message


def _frames(data: Iterable[int]) -> list[tuple[int, bytes]]:
    """Take apart what a server sent: every whole frame. What is none fails the test."""
    view, frames = bytes(data), []
    while len(view) >= 2:
        size, begin = view[1], 2
        assert view[0] in {0x82, 0x02, 0x00, 0x80, 0x88, 0x89}, f"No frame begins with {view[0]:#x}."
        assert size < 0x80, "A server does not mask."
        if size > 125:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(view[2:begin], "big")
        if len(view) < begin + size:
            break
        frames.append((view[0], view[begin : begin + size]))
        view = view[begin + size :]
    return frames
