"""Child processes: started, awaited until they answer, watched, stopped, and never left behind."""

import asyncio
import os
import signal
import subprocess
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from boardctl.errors import CannotStart
from boardctl.files import PRIVATE_FILE, PRIVATE_FOLDER
from boardctl.identity import Identity, die_with_parent

READY_SECONDS_MAX = 60.0
"""What a child may take until it answers; a database that recovers from a crash needs the most."""
STOP_SECONDS_MAX = 10.0
"""What a child may take to leave when asked; a node that drains is gone inside 9 s (G10)."""
END_SECONDS_MAX = 6.0
"""What it may take when told to end at once, before it is killed; PostgreSQL allows its own children 5 s."""
LEFTOVERS_SECONDS_MAX = 10.0
"""What its own processes may take to end once it has, before nobody waits for them any more."""
POLL_SECONDS = 0.03
LOG_LINES_SHOWN = 10
LOG_BYTES_READ_MAX = 8192


class NotReady(Exception):
    """A child does not answer yet; the message says how so."""


class State(StrEnum):
    """What has become of a child."""

    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, and how to live with it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    """Takes its standard output and error; the one of the start before is kept beside it as `….log.1`."""
    url: str = ""
    """Where it answers."""
    ready: Callable[[], Awaitable[None]] | None = None
    """Returns once it answers, raises NotReady while it does not. Must end by itself within seconds."""
    folder: Path | None = None
    """Its working folder, if not this process's own."""
    identity: Identity | None = None
    """As whom it runs, if not as this process's user."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks it to leave in good order."""
    end_signal: signal.Signals = signal.SIGKILL
    """Ends it at once; sent by the kernel if this process dies."""
    inherits: tuple[int, ...] = ()
    """Descriptors that it holds open as long as it lives."""


class Child:
    """One program as a process of its own, in a session of its own: a terminal's Ctrl-C reaches only its parent.

    May be started again once it has ended: on the same port and data. Start from the main thread (`die_with_parent`).
    """

    def __init__(self, program: Program) -> None:
        """Nothing runs before `start`."""
        self.program = program
        self._process: Process | None = None
        self._end: asyncio.Task[int] | None = None

    @property
    def name(self) -> str:
        """The program's name."""
        return self.program.name

    @property
    def url(self) -> str:
        """Where it answers, passwords included."""
        return self.program.url

    @property
    def address(self) -> str:
        """Where it listens, to show: host and port only."""
        return urlsplit(self.program.url).netloc.rpartition("@")[2]

    @property
    def process(self) -> Process:
        """The running process, or the one that ran last."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started.")
        return self._process

    @property
    def pid(self) -> int:
        """Its process id, also the id of its process group."""
        return self.process.pid

    async def start(self) -> None:
        """Start it and return once it is ready. Raises CannotStart with its last lines. `stop` it, even then."""
        process = await self._spawn()
        reason = ""
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                while self.program.ready:
                    if process.returncode is not None:
                        raise CannotStart(f"{self.name} {how_it_ended(process.returncode)}.{self.last_lines()}")
                    try:
                        return await self.program.ready()
                    except NotReady as error:
                        reason = str(error)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise CannotStart(
                f"{self.name} was not ready within {READY_SECONDS_MAX:g} s: {reason}{self.last_lines()}"
            ) from None

    async def wait(self) -> int:
        """Return its exit code, negative for a signal's number, once it and all that it left running are gone.

        Cancel-safe.
        """
        if self._end is None:
            raise RuntimeError(f"{self.name} was never started.")
        return await asyncio.shield(self._end)

    async def stop(self) -> None:
        """Ask it to leave, then insist; return once it is gone. Does nothing if it does not run."""
        if self._process is None:
            return
        for number, seconds_max in (
            (self.program.stop_signal, STOP_SECONDS_MAX),
            (self.program.end_signal, END_SECONDS_MAX),
        ):
            self._send(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds_max):
                    await self.wait()
                    return
        await self.kill()

    async def kill(self) -> None:
        """End it as a crash does (SIGKILL); return once it is gone."""
        self._send(signal.SIGKILL)
        await self.wait()

    def end(self) -> None:
        """Tell it to end at once, and do not wait."""
        if self._process is not None:
            self._send(self.program.end_signal)

    def last_lines(self) -> str:
        """Return the end of its log, to stand below a sentence; empty if it wrote nothing."""
        try:
            with self.program.log.open("rb") as file:
                file.seek(max(0, self.program.log.stat().st_size - LOG_BYTES_READ_MAX))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line for line in text.splitlines() if line.strip()][-LOG_LINES_SHOWN:]
        return "".join(f"\n    {line}" for line in [f"The end of {self.program.log}:", *lines]) if lines else ""

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def _spawn(self) -> Process:
        program = self.program
        lifeline, its_end = os.pipe()
        try:
            with _new_log(program.log) as log:
                self._process = await asyncio.create_subprocess_exec(
                    *program.command,
                    env=program.environment,
                    cwd=program.folder,
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=STDOUT,
                    start_new_session=True,
                    pass_fds=(*program.inherits, its_end),
                    preexec_fn=partial(_before_exec, os.getpid(), program),
                )
            self._end = asyncio.create_task(_ended(self._process, os.dup(lifeline)))
        except OSError as error:
            raise CannotStart(f"Cannot run {error.filename or program.command[0]}: {error.strerror}.") from error
        except subprocess.SubprocessError as error:
            raise CannotStart(
                f"{self.name} cannot be run as an ordinary user here: root lacks the right to change users, or to let "
                "that user pass closed folders. Run this as an ordinary user, or keep program and data in open folders."
            ) from error
        finally:
            os.close(lifeline)
            os.close(its_end)
        return self._process


async def _ended(process: Process, lifeline: int) -> int:
    """Wait for a process, end its group, and wait for those that left the group: `lifeline` ends with the last of them.

    A killed PostgreSQL's own processes go on for a moment, and no other may start on their data.
    """
    try:
        code = await process.wait()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEFTOVERS_SECONDS_MAX):
                await _readable(lifeline)
        return code
    finally:
        os.close(lifeline)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


class Supervisor:
    """Starts children in groups, reports what becomes of them, and stops them in the reverse order."""

    def __init__(self, report: Callable[[Child, State], None] = lambda _child, _state: None) -> None:
        """`report` is called at once whenever a child's state changes."""
        self._report = report
        self._children: list[Child] = []
        self.stopping = False
        """Whether children are being stopped, or are about to be: nothing may interrupt that."""

    @asynccontextmanager
    async def running(self, children: Sequence[Child]) -> AsyncIterator[None]:
        """Start children at the same time; inside, all are ready; at the end all are gone.

        One that ends by itself is reported, and the others carry on. Raises CannotStart if one cannot start.
        """
        self._children += children
        try:
            try:
                async with asyncio.TaskGroup() as starting:
                    for child in children:
                        starting.create_task(self._start(child))
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            watching = [asyncio.create_task(self._watch(child)) for child in children]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
        finally:
            self.stopping = True
            await asyncio.gather(*(self._stop(child) for child in children))

    def end_all(self) -> None:
        """Tell every child to end at once."""
        for child in self._children:
            child.end()

    async def _start(self, child: Child) -> None:
        self._report(child, State.STARTING)
        await child.start()
        self._report(child, State.READY)

    async def _watch(self, child: Child) -> None:
        await child.wait()
        self._report(child, State.DEAD)

    async def _stop(self, child: Child) -> None:
        await child.stop()
        self._report(child, State.STOPPED)


def how_it_ended(code: int) -> str:
    """Put an exit code into words."""
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def _before_exec(parent_pid: int, program: Program) -> None:
    """Run in the child: first the user, because changing it undoes the bond to the parent."""
    if program.identity:
        program.identity.assume()
    die_with_parent(parent_pid, program.end_signal)


def _new_log(path: Path) -> BinaryIO:
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE), "wb")
