"""The line between a browser and a relay: in order both ways, late, slow, cut, or silent.

The relay's end is a `relay.socket.Stream` and its transport.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from relay.socket import Listener
from tests.clientframes import client_frame

HOP_SECONDS = 0.02
BETWEEN_SECONDS = 1e-6
"""Between two messages of one way: timers of the very same time have no order."""
SILENCE_SECONDS_MAX = 30.0
"""After this without a message a stock client hangs up."""
_OPCODE_CLOSE, _OPCODE_PING = 0x88, 0x89


class Client(Protocol):
    """The browser."""

    def heard(self, line: "Line", message: bytes) -> None: ...

    def closed(self, line: "Line", code: int | None) -> None: ...


class Line:
    """One WebSocket. Also the relay's socket and transport."""

    def __init__(self, client: Client, rng: Random, outside: Callable[..., Any]) -> None:
        """`outside` calls back outside of any process, as `loop.call_at` does."""
        self._client = client
        self._rng = rng
        self._at = outside
        self._loop = asyncio.get_running_loop()
        self._listener: Listener | None = None
        self._unread: deque[bytes | None] = deque()
        self._is_paused = False
        self.transport = self
        self._ways = {"up": -math.inf, "down": -math.inf}
        self._buffer = b""
        self._held: list[bytes] = []
        self._taken = asyncio.Event()
        self.is_silent = False
        """Whether everything is swallowed, both ways, and nobody is told."""
        self.is_slow = False
        """Whether the browser takes nothing for now."""
        self.is_over = False
        self._heard_at = self._loop.time()
        self._watch()

    # The browser's end

    def say(self, message: bytes) -> None:
        if not self.is_over and not self.is_silent:
            self._arrive("up", self._come, client_frame(message))

    def hang_up(self) -> None:
        """Close from the browser's side; what it said before still arrives."""
        self._client_gone()
        self._arrive("up", self._come, None)

    def cut(self) -> None:
        """Break: both ends notice, and what is on its way is lost."""
        if not self.is_over:
            self._end()
            self._at(self._loop.time(), self._client.closed, self, None)

    def take_again(self) -> None:
        """The browser takes its messages again."""
        self.is_slow = False
        self._taken.set()
        held, self._held = self._held, []
        for data in held:
            self._arrive("down", self._deliver, data)

    def _end(self) -> None:
        self.is_over = True
        self._taken.set()
        self._come(None)

    def _client_gone(self) -> None:
        self._client = _Nobody()

    def _watch(self) -> None:
        quiet = self._loop.time() - self._heard_at
        if quiet >= SILENCE_SECONDS_MAX and not self.is_over:
            self._end()
            self._client.closed(self, None)
        elif not self.is_over:
            self._at(self._loop.time() + SILENCE_SECONDS_MAX - quiet + 0.001, self._watch)

    def _arrive(self, way: str, callback: Callable[..., Any], *args: Any) -> None:
        self._ways[way] = max(
            self._ways[way] + BETWEEN_SECONDS, self._loop.time() + self._rng.expovariate(1 / HOP_SECONDS)
        )
        self._at(self._ways[way], callback, *args)

    def _deliver(self, data: bytes) -> None:
        if self.is_silent or self.is_over:
            return
        self._heard_at = self._loop.time()
        self._buffer += data
        while (frame := self._frame()) is not None:
            opcode, body = frame
            if opcode == _OPCODE_CLOSE:
                self._end()
                self._client.closed(self, int.from_bytes(body[:2], "big"))
                return
            if opcode == _OPCODE_PING:
                self._answer(body)
            else:
                self._client.heard(self, body)

    def _answer(self, ping: bytes) -> None:
        """Answer a ping, as browsers do by themselves."""
        self._arrive("up", self._come, client_frame(ping, opcode=10))

    def _frame(self) -> tuple[int, bytes] | None:
        """Take a whole frame off the buffer, as RFC 6455 section 5.2 has it."""
        if len(self._buffer) < 2:
            return None
        size, begin = self._buffer[1], 2
        if size > 125:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(self._buffer[2:begin], "big")
        if len(self._buffer) < begin + size:
            return None
        opcode, body = self._buffer[0], self._buffer[begin : begin + size]
        self._buffer = self._buffer[begin + size :]
        return opcode, body

    # The relay's end: a Stream and asyncio's Transport

    def listen(self, listener: Listener) -> None:
        self._listener = listener
        self._loop.call_soon(self._hand_over)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._loop.call_soon(self._hand_over)

    def _come(self, data: bytes | None) -> None:
        self._unread.append(data)
        if self._listener is not None:
            self._hand_over()

    def _hand_over(self) -> None:
        """Hand over what has come; that the line has ended shows at once, unless something stands before it."""
        while self._unread and self._listener is not None and (not self._is_paused or self._unread[0] is None):
            data = self._unread.popleft()
            if data is None:
                self._listener.lost()
            else:
                self._listener.received(data)

    def write(self, data: bytes) -> None:
        if self.is_slow:
            self._taken.clear()
            self._held.append(data)
        else:
            self._arrive("down", self._deliver, data)

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._held))

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    async def taken(self) -> None:
        """Wait until the browser has taken what was written. Raises ConnectionError."""
        if self._held:
            await self._taken.wait()
        if self.is_over:
            raise ConnectionError("The line is cut.")

    def get_extra_info(self, _: str) -> "Line":
        return self

    def setsockopt(self, *_: object) -> None:
        pass

    def is_closing(self) -> bool:
        return self.is_over

    def abort(self) -> None:
        self.cut()

    def close(self) -> None:
        self.cut()


class _Nobody:
    """A tab that was closed."""

    def heard(self, line: Line, message: bytes) -> None:
        pass

    def closed(self, line: Line, code: int | None) -> None:
        pass
