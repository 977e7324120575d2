"""Batches of commands on one connection that is kept: many may be on their way, each is answered in its turn."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection

from boardlog.errors import StorageUnavailable
from boardlog.line import Line

Call = tuple[str | bytes, ...]


class Requests:
    """Sends batches, connecting whenever that is needed."""

    def __init__(self, connect: Callable[[], Awaitable[AbstractConnection]], timeout_seconds: float) -> None:
        """Use what `connect` returns or raises; give a connection up that owes answers and is silent for so long."""
        self._connect = connect
        self._timeout_seconds = timeout_seconds
        self._exchange: _Exchange | None = None
        self._connecting: asyncio.Task[_Exchange] | None = None
        self._generation = 0
        """Counts the times that connections made before were given up."""

    async def send(self, calls: Sequence[Call]) -> list[Any]:
        """Send a batch in one write and return its replies, in order; an error reply is an exception among them.

        Raises what `connect` raises: then nothing was sent. Raises StorageUnavailable if the connection is lost or
        silent: then any of it was carried out, or not. Cancelled, it leaves the same in doubt; it holds up no other.
        """
        exchange = self._exchange
        while exchange is None or exchange.is_over:  # it may be lost or left again by the time that we hear of it
            exchange = await self._connected()
        return await exchange.send(calls)

    def leave(self) -> None:
        """Have the next batch connect anew, it may lead elsewhere. Those on their way are still answered."""
        self._generation += 1
        if self._exchange is not None:
            self._exchange.leave()
            self._exchange = None

    def close(self) -> None:
        """Close at once. A later batch connects anew."""
        self._generation += 1
        if self._connecting is not None:
            self._connecting.cancel()
        if self._exchange is not None:
            self._exchange.fail(StorageUnavailable("The connection to Redis was closed."))
            self._exchange = None

    async def _connected(self) -> "_Exchange":
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._make_exchange())
            self._connecting.add_done_callback(_heed)
        connecting = self._connecting
        await asyncio.wait([connecting])  # which lives on if we are cancelled: others wait for it too
        if connecting.cancelled():
            raise StorageUnavailable("The connection to Redis was closed.")
        return connecting.result()

    async def _make_exchange(self) -> "_Exchange":
        try:
            while True:
                generation = self._generation
                exchange = _Exchange(await self._connect(), self._timeout_seconds)
                await exchange.open()
                if generation == self._generation:
                    self._exchange = exchange
                    return exchange
                exchange.leave()  # it leads to a server that was replaced meanwhile
        finally:
            self._connecting = None


def _heed(task: asyncio.Task["_Exchange"]) -> None:
    """Take note of an error that nobody may wait for any more."""
    if not task.cancelled():
        task.exception()


class _Exchange:
    """One connection, and the batches on their way."""

    def __init__(self, connection: AbstractConnection, timeout_seconds: float) -> None:
        self.is_over = False
        """Whether it takes no more batches."""
        self._timeout_seconds = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._line = Line(connection, self._received, self._lost)
        self._batches: deque[tuple[int, asyncio.Future[list[Any]]]] = deque()
        """How many replies each one gets, and who waits for them."""
        self._replies: list[Any] = []
        """The first of those that the oldest batch gets."""
        self._silent_since = 0.0
        """Since when an answer is owed and none has come."""
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        await self._line.take_over()

    def send(self, calls: Sequence[Call]) -> asyncio.Future[list[Any]]:
        self._line.send(calls)
        if not self._batches:
            self._silent_since = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_at(self._silent_since + self._timeout_seconds, self._check)
        answered = self._loop.create_future()
        self._batches.append((len(calls), answered))
        return answered

    def leave(self) -> None:
        self.is_over = True
        if not self._batches:
            self._close()

    def fail(self, error: StorageUnavailable) -> None:
        """Close; all that is on its way is in doubt."""
        self.is_over = True
        self._close()
        batches, self._batches = self._batches, deque()
        for _, answered in batches:
            if not answered.done():
                answered.set_exception(error)

    def _close(self) -> None:
        self._line.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _received(self, replies: list[Any]) -> None:
        self._silent_since = self._loop.time()
        if self._replies:
            replies = self._replies + replies
        begin = 0
        while self._batches and len(replies) - begin >= self._batches[0][0]:
            count, answered = self._batches.popleft()
            if not answered.done():  # it may have been cancelled
                answered.set_result(replies[begin : begin + count])
            begin += count
        self._replies = replies[begin:]
        if self.is_over and not self._batches:
            self._close()

    def _lost(self, error: Exception) -> None:
        self.fail(StorageUnavailable(f"Redis did not answer: {error}"))

    def _check(self) -> None:
        """Give up a connection that owes answers and has been silent for too long. One timer serves all batches."""
        self._timer = None
        if not self._batches:
            return
        silent_until = self._silent_since + self._timeout_seconds
        if self._loop.time() >= silent_until:
            self.fail(StorageUnavailable("Redis did not answer in time."))
        else:
            self._timer = self._loop.call_at(silent_until, self._check)
