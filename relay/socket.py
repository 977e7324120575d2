"""The WebSocket upgrade: aiohttp does the HTTP, from then on whoever listens gets the bytes as they arrive.

aiohttp's own WebSocket would put each message into a queue and wake a task for it, which costs several times what the
relay itself does with it, and a timer and some ten objects a connection.
"""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol, cast

from aiohttp import hdrs, web

_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""


class Listener(Protocol):
    """Who is given what a client sends. Both calls are synchronous and must not raise."""

    def received(self, data: bytes) -> None:
        """Take bytes as they came."""

    def lost(self) -> None:
        """Hear that nothing follows: the connection has ended."""


class Stream(Protocol):
    """A connection of a client's, both ways."""

    @property
    def transport(self) -> asyncio.Transport:
        """Where bytes are written to."""

    async def taken(self) -> None:
        """Wait until the kernel has what the transport was given. Raises ConnectionError. Cancel-safe."""

    def listen(self, listener: Listener) -> None:
        """Hand over what has come since the handshake, and all that comes. Once."""


class Socket(web.StreamResponse):
    """An upgrade to be answered, then a connection of its own (Stream)."""

    transport: asyncio.Transport
    """Once it is open."""

    def __init__(self, request: web.Request, protocols: Sequence[str]) -> None:
        """Answer `request`, with the first of `protocols` if there is one. Raises HTTPUpgradeRequired."""
        # The library's own judgement of a handshake.
        if not web.WebSocketResponse(compress=False, protocols=protocols).can_prepare(request):
            raise web.HTTPUpgradeRequired(text="Connect with a WebSocket client, for example y-websocket.\n")
        key = request.headers[hdrs.SEC_WEBSOCKET_KEY].encode()
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT, usedforsecurity=False).digest()).decode()
        headers = {hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "upgrade", hdrs.SEC_WEBSOCKET_ACCEPT: accept}
        if protocols:
            headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = protocols[0]
        super().__init__(status=HTTPStatus.SWITCHING_PROTOCOLS, headers=headers)
        self.force_close()  # once it is over, the connection is good for nothing else
        self._request = request

    async def open(self) -> None:
        """Answer the handshake. Raises ConnectionResetError if the client has gone."""
        await self.prepare(self._request)
        self._request.protocol.keep_alive(val=False)
        if self._request.transport is None:
            raise ConnectionResetError("the client has gone")
        self.transport = self._request.transport

    @property
    def is_gone(self) -> bool:
        """Whether the connection has ended."""
        return self._request.protocol.transport is None

    async def taken(self) -> None:
        """See Stream."""
        await self._request.writer.drain()

    def listen(self, listener: Listener) -> None:
        """See Stream."""
        if self.is_gone:
            listener.lost()
        else:
            self._request.protocol.set_parser(cast(Any, _Bytes(listener)))


class _Bytes:
    """What aiohttp takes for the parser of an upgraded connection."""

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._listener.received(data)
        return False, b""

    def feed_eof(self) -> None:
        self._listener.lost()
