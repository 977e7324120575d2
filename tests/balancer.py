"""A load balancer as the worst case has it: no affinity, no health checks, nothing but TCP."""

import asyncio
from collections import Counter
from typing import Self
from urllib.parse import urlsplit

CONNECT_SECONDS_MAX = 2.0
"""How long a backend may take to accept before the next is tried."""
CHUNK_BYTES = 64 << 10


class RoundRobin:
    """A load balancer without affinity: each new TCP connection goes to the next backend that accepts it.

    An async context manager; `url` is its own address. `backends` may be changed at any time and is asked anew for
    each connection, so that a dead one costs its clients nothing but the next attempt.
    """

    def __init__(self, *backends: str) -> None:
        self.backends = list(backends)
        """Addresses like `ws://127.0.0.1:8080`; only host and port count."""
        self.served: Counter[str] = Counter()
        """How many connections each backend took."""
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def cut(self) -> None:
        """Break every connection at both ends, without a word."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            backend_reader, backend_writer = await self._dial()
            ends.append(backend_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, backend_writer))
                group.create_task(_pump(backend_reader, writer))
            for end in ends:
                end.close()  # flushes what is left, a close frame perhaps
        except* OSError:
            pass  # one end is gone or none was to be had; the other learns it by the abort
        finally:
            for end in ends:
                if not end.is_closing():
                    end.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        start, self._turn = self._turn, self._turn + 1
        backends = list(self.backends)
        for offset in range(len(backends)):
            backend = backends[(start + offset) % len(backends)]
            address = urlsplit(backend)
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    streams = await asyncio.open_connection(address.hostname, address.port)
            except OSError:  # a TimeoutError is one too
                continue
            self.served[backend] += 1
            return streams
        raise ConnectionRefusedError("No backend accepts connections.")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
