"""A connection to Redis without the library's coroutines: what arrives is parsed and handed on in one step of the loop.

The library connects, so that TLS, AUTH, SELECT and which server it is are its affair; then its transport is taken over.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import hiredis
from redis._parsers import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

_NO_REPLY = object()


class Line(asyncio.Protocol):
    """One connection, once `take_over` has taken it from the library."""

    def __init__(
        self,
        connection: AbstractConnection,
        received: Callable[[list[Any]], None],
        lost: Callable[[Exception], None],
    ) -> None:
        """Take a connected connection, to be taken over at once.

        `received` gets all replies that arrived at once, errors as exceptions among them; none, where more came of one
        that is not whole yet. `lost` is called once, and not after `close`. Both are synchronous and must not raise.
        """
        self.connection = connection
        """What the library connected: it still knows the address, and can do nothing more."""
        self._received = received
        self._lost = lost
        # To be kept: from Python 3.11.5 on, a writer that nobody has any more closes its transport.
        writer: Any = connection._writer  # noqa: SLF001
        self._writer = writer
        self._transport: asyncio.Transport = writer.transport
        self._replies = hiredis.Reader(
            protocolError=InvalidResponse, replyError=BaseParser.parse_error, notEnoughData=_NO_REPLY
        )
        self._is_closed = False

    async def take_over(self) -> None:
        """Read and write from now on. Raises RedisError if the connection has broken already. It suspends nobody."""
        is_of_no_use = await self.connection.can_read()  # at its end, or bytes that nobody asked for
        self.connection._reader = self.connection._writer = None  # noqa: SLF001
        self._transport.set_protocol(self)
        if is_of_no_use:
            self.close()
            raise RedisConnectionError("Redis closed a new connection.")

    def send(self, commands: Iterable[tuple[str | bytes, ...]]) -> None:
        """Write commands. Never waits: who sends bounds what may be on its way. Raises RedisError once it is closed."""
        if self._is_closed or self._transport.is_closing():
            raise RedisConnectionError("The connection to Redis has ended.")
        self._transport.write(b"".join([hiredis.pack_command(command) for command in commands]))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close at once: what is still to be written is not. Harmless if repeated."""
        self._is_closed = True
        self._transport.abort()

    def break_off(self, error: Exception) -> None:
        """Close, and tell `lost` why."""
        if not self._is_closed:
            self.close()
            self._lost(error)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_closed:
            return
        replies: list[Any] = []
        try:
            self._replies.feed(data)
            while (reply := self._replies.gets()) is not _NO_REPLY:
                replies.append(reply)
        except InvalidResponse as error:
            self.break_off(error)
            return
        self._received(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.break_off(exc or RedisConnectionError("Redis closed the connection."))
