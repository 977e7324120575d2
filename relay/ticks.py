"""Moments that all boards of a node share: what they have to tell then is told a few boards a turn of the loop.

At low rates nothing costs as much as to wake up: boards that tell together are one wake-up, one pipeline to Redis, one
for the nodes that hear of it. But a thousand boards at once must not hold up everything else.
"""

import asyncio
from collections import deque
from collections.abc import Callable

BOARDS_PER_TURN = 16


class Tick:
    """Something to be done at a moment."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        """Do this."""
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do nothing. Harmless if it was done."""
        self._callback = None

    def run(self) -> None:
        """Do it, unless it was cancelled."""
        if self._callback is not None:
            self._callback()


class Ticks:
    """What is to be done at which moment."""

    def __init__(self) -> None:
        """Begin with nothing. Make and use it on one event loop."""
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[float, list[Tick]] = {}
        self._due: deque[Tick] = deque()

    def at(self, when: float, callback: Callable[[], None]) -> Tick:
        """Call back at a moment (presence.moment) on the loop's clock."""
        tick = Tick(callback)
        waiting = self._waiting.get(when)
        if waiting is None:
            self._waiting[when] = [tick]
            self._loop.call_at(when, self._come, when)
        else:
            waiting.append(tick)
        return tick

    def _come(self, when: float) -> None:
        is_at_it = bool(self._due)
        self._due += self._waiting.pop(when)
        if not is_at_it:
            self._go_on()

    def _go_on(self) -> None:
        try:
            for _ in range(min(BOARDS_PER_TURN, len(self._due))):
                self._due.popleft().run()
        finally:
            if self._due:
                self._loop.call_soon(self._go_on)
