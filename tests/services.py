"""The real services as processes of their own, for integration tests."""

import asyncio
import os
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import asyncpg

from boardctl.connections import Connections, connected
from boardctl.servers.wheels import free_port
from boardlog import database as database_module
from boardlog.access import new_key
from boardlog.grant import Role
from boardlog.ids import BoardId

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0


@dataclass(slots=True)
class Service:
    """A running process and where it listens."""

    name: str
    port: int
    process: Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.kill()

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP): silent, its connections open, as a machine that hangs."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, as if no time had passed for it."""
        self.process.send_signal(signal.SIGCONT)

    async def terminate(self) -> int:
        """Ask it to leave; return its exit code."""
        self.process.terminate()
        async with asyncio.timeout(STOP_SECONDS_MAX):
            return await self.process.wait()

    async def get(self, path: str) -> tuple[int, Any]:
        """Return the status and the JSON body of a GET."""
        async with aiohttp.ClientSession() as client, client.get(self.url + path) as answer:
            return answer.status, await answer.json(content_type=None)


@dataclass
class System:
    """Any number of services on a Redis and a PostgreSQL; a board with an editor's and a viewer's key."""

    redis_url: str
    database_url: str
    redis_key_prefix: str
    logs: Path
    stores: Connections
    board: BoardId
    editor_key: str = field(default_factory=new_key)
    viewer_key: str = field(default_factory=new_key)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, module: str, name: str = "", **settings: str) -> Service:
        """Start `python -m {module}` and wait until it is ready."""
        return await self._stack.enter_async_context(self._running(module, name or module, settings))

    async def relays(self, count: int = 2, **settings: str) -> list[Service]:
        """Start relays, all at once."""
        return await asyncio.gather(*(self.start("relay", f"relay-{number}", **settings) for number in range(count)))

    async def another_board(self, name: str) -> "System":
        """Return the same system with another board and its keys."""
        other = replace(self, board=BoardId(name), editor_key=new_key(), viewer_key=new_key())
        await other.create_board()
        return other

    async def create_board(self) -> None:
        """Create the board and its keys."""
        await self.stores.snapshots.create(self.board)
        await self.stores.access.create_key(self.editor_key, self.board, Role.EDITOR, "editor")
        await self.stores.access.create_key(self.viewer_key, self.board, Role.VIEWER, "viewer")

    @asynccontextmanager
    async def _running(self, module: str, name: str, settings: dict[str, str]) -> AsyncIterator[Service]:
        port = free_port()
        environment = {
            **os.environ,
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "NODE_NAME": name,
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": self.database_url,
            "REDIS_KEY_PREFIX": self.redis_key_prefix,
            **settings,
        }
        log = self.logs / f"{name}-{port}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, env=environment, stdin=DEVNULL, stdout=output, stderr=output
            )
        service = Service(name, port, process, log)
        try:
            await self._ready(service)
            yield service
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                await process.wait()

    async def _ready(self, service: Service) -> None:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while True:
                if service.process.returncode is not None:
                    raise AssertionError(f"{service.name} ended:\n{service.log.read_text()}")
                try:
                    if (await service.get("/ready"))[0] == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Kill whatever still runs."""
        await self._stack.aclose()


@asynccontextmanager
async def empty_database(server_url: str) -> AsyncIterator[str]:
    """Yield the address of a new, migrated database on that server; it is dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    administrator = await asyncpg.connect(server_url)
    await administrator.execute(f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    pool = await database_module.connect(url)
    await database_module.migrate(pool)
    await pool.close()
    try:
        yield url
    finally:
        await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await administrator.close()


@asynccontextmanager
async def system(redis_url: str, database_url: str, redis_key_prefix: str, logs: Path) -> AsyncIterator[System]:
    """Yield a system with its board and keys; nothing of it runs afterwards."""
    async with connected(database_url, redis_url, redis_key_prefix) as stores:
        made = System(redis_url, database_url, redis_key_prefix, logs, stores, BoardId("board"))
        await made.create_board()
        try:
            yield made
        finally:
            await made.stop()
