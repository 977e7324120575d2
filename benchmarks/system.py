"""The measured system: all of it as `boardctl up` runs it, on one core, with empty stores."""

import asyncio
import ctypes
import json
import os
import resource
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.meter import busy_seconds, resident_bytes

PROJECT = Path(__file__).resolve().parent.parent
TREE = PROJECT / "build" / "compiled"
"""The packages as they are in a wheel: what is measured is what is deployed."""

_CORES = sorted(os.sched_getaffinity(0))
SYSTEM_CORE, LOAD_CORE = _CORES[0], _CORES[-1]
"""Where there are two, neither takes time from the other."""
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
SETTLE_SECONDS_MAX = 15.0
QUIET_SECONDS = 0.5
POLL_SECONDS = 0.1
QUIET_SHARE = 0.04
"""The system is at rest while it uses less of a core than this."""
SPARE_FILES = 1000
"""What a process has open beside the load's sockets, at most."""
HOST = "127.0.0.1"
"""Where `boardctl up` listens: the load leaves this machine in no case."""
BRIDGE_OFFSET, WORKER_OFFSET = 10, 20
"""Where `boardctl up` puts the bridge's and the worker's port."""
_PR_SET_PDEATHSIG = 1
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections."""


class NotStarted(Exception):
    """The system did not come up; the message says what it told."""


@dataclass(frozen=True, slots=True)
class System:
    """A running system, with a key for every board: a board is created by whoever opens it first."""

    relays: list[str]
    """`ws://…` of each node."""
    worker: str
    """`http://…`"""
    pids: Mapping[str, int]
    """By the processes' names: relay-0, relay-1, redis, worker, postgres, bridge."""
    key: str
    is_compiled: bool
    """Whether the nodes run compiled modules: without a C compiler they are plain Python."""

    def url(self, board: str, node: int = 0) -> str:
        """Return a board's address on a node."""
        return f"{self.relays[node]}/ws/{board}?apiKey={self.key}"

    def relays_resident_bytes(self, nodes: int) -> int:
        """Return the memory of the first so many nodes."""
        return sum(resident_bytes(self.pids[f"relay-{node}"]) for node in range(nodes))

    async def emptied(self) -> None:
        """Wait until the nodes have closed their rooms, in which nobody is any more, and the system is at rest.

        Rooms stay open for some seconds, and what they leave to the worker would be taken for a part of what follows.
        """
        async with aiohttp.ClientSession() as http:
            for node in range(len(self.relays)):
                while await self._rooms(http, node):  # noqa: ASYNC110  another process closes them
                    await asyncio.sleep(POLL_SECONDS)
        await self.settle()

    async def _rooms(self, http: aiohttp.ClientSession, node: int) -> int:
        async with http.get(f"http{self.relays[node].removeprefix('ws')}/health") as answer:
            rooms: int = (await answer.json())["rooms"]
        return rooms

    async def settle(self) -> None:
        """Wait until nothing is left over from what was done before, or for SETTLE_SECONDS_MAX. Cancel-safe."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS_MAX):
                share = 1.0
                while share > QUIET_SHARE:
                    before = sum(busy_seconds(pid) for pid in self.pids.values())
                    await asyncio.sleep(QUIET_SECONDS)
                    share = (sum(busy_seconds(pid) for pid in self.pids.values()) - before) / QUIET_SECONDS


def new_board() -> str:
    """Return a board that was never used."""
    return f"bench-{secrets.token_hex(6)}"


def pin_load() -> None:
    """Keep this process off the system's core, where there is another."""
    os.sched_setaffinity(0, {LOAD_CORE})


def allow_sockets(count: int) -> None:
    """Let this process, and what it starts, have so many sockets open. Raises NotStarted if they may not."""
    wanted = count + SPARE_FILES
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, most)))
    except (ValueError, OSError):
        raise NotStarted(
            f"{count:,} sockets take a limit of {wanted:,} open files, and this shell may not go beyond {most:,}: "
            f"have the limit raised (`ulimit -Hn {wanted}` as root, or `nofile` of the container), or ask for fewer."
        ) from None


@asynccontextmanager
async def running_system(sockets: int = 0) -> AsyncIterator[System]:
    """Yield a system with empty stores, for a load of so many sockets; nothing of it is left afterwards.

    Raises NotStarted.
    """
    allow_sockets(sockets)
    # Not a private folder: started by root, PostgreSQL runs as another user and must reach its data.
    folder = Path(tempfile.mkdtemp(prefix="board-relay-bench-"))
    folder.chmod(0o711)
    try:
        await _make_tree()
        with (folder / "output").open("wb") as output:
            up = await _start(folder, output.fileno())
            try:
                yield await _ready(folder, up)
            finally:
                await _stop(up)
    finally:
        shutil.rmtree(folder)


async def _make_tree() -> None:
    """Make the tree anew if a source has changed, which takes half a minute."""
    making = await asyncio.create_subprocess_exec(sys.executable, str(PROJECT / "hatch_build.py"), str(TREE))
    if await making.wait():
        raise NotStarted("The packages could not be compiled.")


async def _start(folder: Path, output: int) -> Process:
    command = ["up", "--port", str(_free_base()), "--data", str(folder / "data")]
    up = await asyncio.create_subprocess_exec(
        *_boardctl(*command, "--ready-file", str(folder / "ready")),
        stdin=DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, "LOG_LEVEL": "WARNING", "PYTHONPATH": str(TREE)},
        start_new_session=True,  # a terminal's Ctrl-C reaches only us: we stop it
        preexec_fn=_end_with_parent,
    )
    os.sched_setaffinity(up.pid, {SYSTEM_CORE})  # before it starts anything, which inherits it
    return up


async def _ready(folder: Path, up: Process) -> System:
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not (folder / "ready").exists():
                if up.returncode is not None:
                    raise NotStarted((folder / "output").read_text())
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise NotStarted((folder / "output").read_text()) from None
    ready: dict[str, Any] = json.loads((folder / "ready").read_text())
    host, _, first_port = ready["relays"][0].removeprefix("http://").rpartition(":")
    if host != HOST:
        raise NotStarted(f"The relays are at {host}, and the load must stay on {HOST}.")
    return System(
        relays=[f"ws{url.removeprefix('http')}" for url in ready["relays"]],
        worker=f"http://{host}:{int(first_port) + WORKER_OFFSET}",
        pids=ready["pids"],
        key=await _key_for_every_board(ready["database_url"], ready["redis_url"]),
        is_compiled=_is_compiled(ready["pids"]["relay-0"]),
    )


def _is_compiled(pid: int) -> bool:
    """Tell whether a process has mapped shared objects of the tree: files of Python's it only reads."""
    return f"{TREE}/" in Path(f"/proc/{pid}/maps").read_text()


async def _key_for_every_board(database_url: str, redis_url: str) -> str:
    making = await asyncio.create_subprocess_exec(
        *_boardctl("key", "create", "*", "--json"),
        stdin=DEVNULL,
        stdout=PIPE,
        env={**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url},
    )
    made, _ = await making.communicate()
    if making.returncode:
        raise NotStarted("boardctl made no key.")
    key: str = json.loads(made)["api_key"]
    return key


async def _stop(up: Process) -> None:
    """Ask the system to end, then insist. Its own children die with it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if up.returncode is None:
            up.send_signal(number)
            with suppress(TimeoutError):
                await asyncio.wait_for(up.wait(), STOP_SECONDS_MAX)


def _end_with_parent() -> None:
    """Have the kernel stop this process in good order when its parent is killed (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _boardctl(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "boardctl.main", *arguments]


def _free_base() -> int:
    """Return a port that is free, with those that the other services take from it."""
    while True:
        base = secrets.choice(PORTS)
        with suppress(OSError):
            for offset in (0, 1, BRIDGE_OFFSET, WORKER_OFFSET):
                socket.create_server((HOST, base + offset)).close()
            return base
