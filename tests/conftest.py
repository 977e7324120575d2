"""Shared fixtures: real servers, one of each for the session, and an empty database and a key prefix for each test."""

import asyncio
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from boardctl.servers import running_postgres, running_valkey
from tests.services import empty_database
from tests.valkeys import running_cluster


class _Servers:
    """Embedded servers on a loop and a thread of their own, so that no test shares a loop with them.

    The thread lasts as long as they do: the kernel ends a child when the thread that started it ends.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        # Not below pytest's own folders: they are private, and PostgreSQL does not run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="board-relay-tests-"))
        self.folder.chmod(0o711)

    def start(self, kind: str) -> str:
        running = {"valkey": running_valkey, "cluster": running_cluster, "postgres": running_postgres}[kind]
        entering = self._stack.enter_async_context(running(self.folder / kind))
        return asyncio.run_coroutine_threadsafe(entering, self._loop).result().url

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def servers() -> Iterator[_Servers]:
    made = _Servers()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def redis_url(servers: _Servers) -> str:
    """A Redis or Valkey: the one that REDIS_URL names, else an embedded one."""
    return os.environ.get("REDIS_URL") or servers.start("valkey")


@pytest.fixture(scope="session")
def cluster_url(servers: _Servers) -> str:
    """A cluster of three masters, embedded."""
    return servers.start("cluster")


@pytest.fixture(scope="session")
def database_url(servers: _Servers) -> str:
    """A PostgreSQL in which databases may be created: the one that DATABASE_URL names, else an embedded one."""
    return os.environ.get("DATABASE_URL") or servers.start("postgres")


@pytest.fixture
def redis_key_prefix() -> str:
    """A prefix of this test's own."""
    return f"test-{secrets.token_hex(6)}:"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[str]:
    """An empty, migrated database of this test's own."""
    async with empty_database(database_url) as url:
        yield url
