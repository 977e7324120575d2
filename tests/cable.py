"""A TCP cable to one server, and what can happen to a cable: cut, gone silent, one-way, slow."""

import asyncio
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 16 << 10


class Cable:
    """Carries each connection to one server. An async context manager; `url` leads through it.

    What has been swallowed is gone: a direction that was silent stays so for its connection, as if a router forgot it.
    """

    def __init__(self, url: str) -> None:
        """Lead to the server at `url`, of which only host and port are changed."""
        self._to = urlsplit(url)
        self.swallows_requests = False
        """Whether what is sent to the server gets lost, and the end of the connection too."""
        self.swallows_answers = False
        """Whether what the server sends gets lost, and the end of the connection too."""
        self.chunk_seconds = 0.0
        """How long each piece of CHUNK_BYTES takes."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        login, at, _ = self._to.netloc.rpartition("@")
        port = self._server.sockets[0].getsockname()[1]
        self.url = urlunsplit(self._to._replace(netloc=f"{login}{at}127.0.0.1:{port}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def cut(self) -> None:
        """Break every connection at both ends; new ones pass."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def silence(self) -> None:
        """Swallow everything, both ways, and close nothing: not even a reset comes back. New connections as well."""
        self.swallows_requests = self.swallows_answers = True

    def mend(self) -> None:
        """Let new connections pass. Those that were silent stay so."""
        self.swallows_requests = self.swallows_answers = False
        self.chunk_seconds = 0.0

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            server_reader, server_writer = await asyncio.open_connection(self._to.hostname, self._to.port)
            ends.append(server_writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, server_writer, lambda: self.swallows_requests))
                group.create_task(self._pump(server_reader, writer, lambda: self.swallows_answers))
        except* OSError:
            pass  # one end is gone, or there is no server: the other learns it by the abort
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, swallows: Callable[[], bool]
    ) -> None:
        is_silent = False
        try:
            while data := await reader.read(CHUNK_BYTES):
                is_silent = is_silent or swallows()
                if not is_silent:
                    await asyncio.sleep(self.chunk_seconds)
                    writer.write(data)
                    await writer.drain()
        except OSError:
            if not (is_silent or swallows()):
                raise
        if is_silent or swallows():
            await asyncio.Event().wait()  # its end is no news to the other side
        writer.write_eof()
