"""A bare y-protocols client for tests of the wire: sends any bytes, decodes strictly, sees close codes.

Source: y-protocols PROTOCOL.md; ARCHITECTURE.md for type 100. Written apart from the relay's codec, so that a mistake
there cannot hide itself.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

WAIT_SECONDS_MAX = 10.0
"""How long a frame or a close may take before the test fails, unless the test says otherwise."""
MESSAGE_BYTES_MAX = 256 << 20

Kind = Literal["step1", "step2", "update", "awareness", "query", "welcome", "saved", "unsaved"]

_PREFIXES: dict[Kind, bytes] = {
    "step1": b"\x00\x00",
    "step2": b"\x00\x01",
    "update": b"\x00\x02",
    "awareness": b"\x01",
    "query": b"\x03",
    "welcome": b"\x64\x00",
    "saved": b"\x64\x01",
    "unsaved": b"\x64\x02",
}
HELLO = b"\x64\x00\x01"
"""Asks to be told what is saved: stock clients never send it, and never see the last three kinds."""
EMPTY_UPDATE = b"\x00\x00"
EMPTY_STATE_VECTOR = b"\x00"


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded message: a state vector, an update or an awareness update; a number, or nothing."""

    kind: Kind
    body: bytes = b""
    number: int = 0


class Closed(Exception):
    """The server closed the connection instead of sending a frame."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"The connection was closed with {code} {reason!r}.")
        self.code = code
        """None when the connection was lost without a close frame."""
        self.reason = reason


def varuint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def framed(kind: Kind, body: bytes = b"") -> bytes:
    """Return the bytes of a message: `framed("update", update)`, `framed("query")`."""
    return _PREFIXES[kind] + (b"" if kind == "query" else varuint(len(body)) + body)


def awareness_update(states: Mapping[int, tuple[int, Any]]) -> bytes:
    """Return the body of an awareness message for client id -> (clock, state); a state of None leaves."""
    parts = [varuint(len(states))]
    for client, (clock, state) in states.items():
        text = json.dumps(state, separators=(",", ":"), ensure_ascii=False).encode()
        parts += [varuint(client), varuint(clock), varuint(len(text)), text]
    return b"".join(parts)


def awareness_states(body: bytes) -> dict[int, tuple[int, Any]]:
    """Decode the body of an awareness message into client id -> (clock, state)."""
    reader = _Reader(body)
    states = {}
    for _ in range(reader.varuint()):
        client, clock = reader.varuint(), reader.varuint()
        states[client] = (clock, json.loads(reader.sized()))
    reader.end()
    return states


def decode(message: bytes) -> Frame:
    """Decode a message. Raises AssertionError unless it is exactly one: stock clients ignore what follows."""
    for kind, prefix in _PREFIXES.items():
        if message.startswith(prefix):
            reader = _Reader(message, len(prefix))
            if kind in ("query", "unsaved"):
                frame = Frame(kind)
            elif kind in ("welcome", "saved"):
                frame = Frame(kind, number=reader.varuint())
            else:
                frame = Frame(kind, reader.sized())
            reader.end()
            return frame
    raise AssertionError(f"No client knows a message that begins with {message[:2].hex()}.")


class RawClient:
    """One WebSocket to the server; made by `raw_client`."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, *messages: bytes) -> None:
        for message in messages:
            await self.socket.send_bytes(message)

    async def receive(self, seconds_max: float = WAIT_SECONDS_MAX) -> Frame:
        """Return the next message. Raises Closed, TimeoutError, AssertionError for bytes that are no message."""
        async with asyncio.timeout(seconds_max):
            message = await self.socket.receive()
        if message.type is WSMsgType.BINARY:
            return decode(message.data)
        if message.type is WSMsgType.CLOSE:
            raise Closed(message.data, message.extra or "")
        if message.type in {WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR}:
            raise Closed(None, str(self.socket.exception() or "connection lost"))
        raise AssertionError(f"The server sent a {message.type.name} message; the protocol is binary.")

    async def receive_until(self, kind: Kind, seconds_max: float = WAIT_SECONDS_MAX) -> Frame:
        """Return the next message of this kind and drop those before it. Raises like `receive`."""
        async with asyncio.timeout(seconds_max):
            while (frame := await self.receive()).kind != kind:
                pass
        return frame

    async def closed(self, seconds_max: float = WAIT_SECONDS_MAX) -> Closed:
        """Drop messages until the server closes and return how it did. Raises TimeoutError."""
        async with asyncio.timeout(seconds_max):
            while True:
                try:
                    await self.receive()
                except Closed as closed:
                    return closed


@asynccontextmanager
async def raw_client(
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    protocols: Sequence[str] = (),
) -> AsyncIterator[RawClient]:
    """Connect to the whole address, the room included; hang up at the end. Raises aiohttp.ClientError if refused."""
    async with (
        ClientSession() as session,
        session.ws_connect(
            url, params=params, headers=headers, protocols=protocols, max_msg_size=MESSAGE_BYTES_MAX
        ) as socket,
    ):
        yield RawClient(socket)


class _Reader:
    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._position = position

    def varuint(self) -> int:
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def sized(self) -> bytes:
        return self._take(self.varuint())

    def end(self) -> None:
        left = len(self._data) - self._position
        assert left == 0, f"{left} bytes follow the message {self._data[:40].hex()}."

    def _take(self, count: int) -> bytes:
        start, self._position = self._position, self._position + count
        assert self._position <= len(self._data), f"The message {self._data[:40].hex()} is cut short."
        return self._data[start : self._position]
