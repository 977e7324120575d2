"""aiohttp's WebSocket, but for the end of one that sends a too large message, or that is not read for long."""

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web


class MessageTooLarge(Exception):
    """A message is larger than this server takes; the message of this is a sentence."""


class Socket(web.WebSocketResponse):
    """Leaves it to whoever reads it to refuse a message of more than `message_bytes_max`, fragmented or not.

    aiohttp closes with 1009, which clients retry for ever, and hangs up on what is still being sent, so that they may
    not even get that. Here the first `receive` after it returns an ERROR with MessageTooLarge and leaves the socket
    open: what still comes is thrown away. Whoever receives again closes it with 1009.
    """

    def __init__(self, message_bytes_max: int, *, heartbeat: float, timeout: float, protocols: list[str]) -> None:
        """Make an unprepared socket. Times are in seconds."""
        # aiohttp refuses what has as many bytes as its limit.
        super().__init__(
            max_msg_size=message_bytes_max + 1,
            heartbeat=heartbeat,
            timeout=timeout,
            protocols=protocols,
            compress=False,
        )
        self._message_bytes_max = message_bytes_max
        self._has_told = False

    async def receive(self, timeout: float | None = None) -> WSMessage:  # noqa: ASYNC109  aiohttp's own
        """See web.WebSocketResponse."""
        message = await super().receive(timeout)
        if isinstance(message.data, WebSocketError) and message.data.code == WSCloseCode.MESSAGE_TOO_BIG:
            error = MessageTooLarge(f"One message may have {self._message_bytes_max} bytes.")
            return WSMessage(WSMsgType.ERROR, error, None)
        return message

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """See web.WebSocketResponse."""
        if code == WSCloseCode.MESSAGE_TOO_BIG and not self._has_told:
            self._has_told = True
            return False
        return await super().close(code=code, message=message, drain=drain)

    def _pong_not_received(self) -> None:
        """See web.WebSocketResponse, whose heartbeat cuts who does not answer.

        While this end reads nothing, as when the log is full (G5), the answer is among what it has not read: to cut
        would send the client away, to come back at once with all that it has.
        """
        if self._req is not None and self._req.protocol._reading_paused:  # noqa: SLF001  it is said nowhere else
            self._reset_heartbeat()
            return
        super()._pong_not_received()
