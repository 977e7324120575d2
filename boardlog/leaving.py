"""Work that other people wait for, and that has to end when its process leaves: told so, not cut off (G10)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from boardlog.errors import BoardLogError


class Left(BoardLogError):
    """The process leaves before the work was done: another one takes over."""


class Leaving:
    """The work under way of one kind."""

    def __init__(self) -> None:
        """Nothing has to end yet."""
        self._under_way: dict[asyncio.Timeout, None] = {}
        self._ends_at: float | None = None
        self._none = asyncio.Event()
        self._none.set()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[None]:
        """Do work in here. Raises Left in it when it has to end. Cancel-safe."""
        try:
            async with asyncio.timeout_at(self._ends_at) as scope:
                self._under_way[scope] = None
                self._none.clear()
                try:
                    yield
                finally:
                    del self._under_way[scope]
                    if not self._under_way:
                        self._none.set()
        except TimeoutError:
            if not scope.expired():
                raise
            raise Left("This node is shutting down: try again, another one takes over.") from None

    def end(self, after_seconds: float, spread_seconds: float = 0.0) -> None:
        """End all work after this time, spread over `spread_seconds`; what begins later ends with the last of it."""
        begins_at = asyncio.get_running_loop().time() + after_seconds
        self._ends_at = begins_at + spread_seconds
        for index, scope in enumerate(self._under_way):
            scope.reschedule(begins_at + spread_seconds * index / len(self._under_way))

    async def ended(self) -> None:
        """Wait until no work is under way. Cancel-safe."""
        await self._none.wait()
