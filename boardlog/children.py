"""Processes of one's own for work that may hang, crash or take too much, without hurting anybody else (G6, G7).

Not a ProcessPoolExecutor: there one child's death fails everybody's work at once, a hung child cannot be ended, an
idle one outlives a killed parent, and with `max_tasks_per_child` a queue of calls stalls for good (Python 3.11, seen).
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import msgpack
from prometheus_client import Counter

from boardlog import work_process
from boardlog.errors import BoardLogError
from boardlog.telemetry import METRICS

START_SECONDS_MAX = 30.0
"""What a process may take until it listens. No update's doing: on a busy machine its imports alone take seconds."""
WALL_FACTOR = 4
"""Work that takes this many times longer than it may compute was held up by something else."""
WORKS_PER_PROCESS_MAX = 200
"""A process ends after these: what its allocator holds on to goes back to the system."""
PROCESS_BYTES_MAX = 4 * 1024 * 1024 * 1024
"""Addresses of one process; beyond it, its work fails. The dearest update that may be takes half of it."""
PIPE_BYTES = 1024 * 1024
PROGRAM = work_process.__name__

_OWN_SIGNALS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGPROF}
)
"""What a process dies of by its own doing: crashes, memory that it did not get, its limit of CPU time."""

LOST = Counter("work_processes_lost_total", "Working processes that died or hung", registry=METRICS)


class NoProcess(BoardLogError):
    """A process does not start, or ended for a reason that no work can have."""


class WorkFailed(Exception):
    """The work could not be done, by its own doing; the message is a sentence."""


class Interrupted(Exception):
    """The process was killed or held up from outside; the message is a sentence."""


@dataclass(slots=True)
class Budget:
    """How long somebody may go on holding processes; below zero it is spent."""

    left_seconds: float


class Children:
    """At most `processes_max` processes, each started when it is first needed. Make and use it on one event loop."""

    def __init__(self, processes_max: int) -> None:
        """Start nothing yet."""
        self._slots = asyncio.Semaphore(processes_max)
        self._idle: list[Child] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator["Child"]:
        """Yield a process of one's own, in the order of the calls; one that was not left in peace is ended."""
        async with self._slots:
            child = self._idle.pop() if self._idle else await Child.start()
            try:
                yield child
            except BaseException:
                await child.end()
                raise
            if child.works < WORKS_PER_PROCESS_MAX:
                self._idle.append(child)
            else:
                await child.end()

    async def do(self, work: int, seconds: float, *content: object, budget: "Budget | None" = None) -> list[Any]:
        """Have a process do work that may compute for so long, and return what it came to.

        Raises WorkFailed, Interrupted, NoProcess. Cancelled, it ends its process.
        """
        async with self.one() as child:
            began = asyncio.get_running_loop().time()
            try:
                answer, *came_to = await child.do(work, seconds, *content)
            finally:
                if budget is not None:
                    budget.left_seconds -= asyncio.get_running_loop().time() - began
        if answer == work_process.FAILED:  # only now: the process is as good as before
            raise WorkFailed(*came_to)
        return came_to

    async def close(self) -> None:
        """End the processes that wait for work. Work under way is ended by cancelling it."""
        while self._idle:
            await self._idle.pop().end()


class Child:
    """One process that runs `work_process.py`."""

    def __init__(self, process: Process) -> None:
        """Wrap a process that was just started."""
        self.works = 0
        self._process = process

    @classmethod
    async def start(cls) -> "Child":
        """Start one and wait until it listens. Raises NoProcess. Cancelled, it ends it."""
        # A program of its own rather than a fork: no sockets, no locks, no memory of ours. Its session is its own as
        # well, so that Ctrl-C does not reach it.
        safe_path = ("-P",) if sys.flags.safe_path else ()
        command = (sys.executable, *safe_path, "-m", PROGRAM, str(PROCESS_BYTES_MAX))
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, limit=PIPE_BYTES, start_new_session=True
        )
        started = cls(process)
        try:
            await started._listens()
        except BaseException:
            await started.end()
            raise
        return started

    async def _listens(self) -> None:
        """Wait until it has said so, before any work's time counts."""
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._answer()
        except TimeoutError as error:
            raise NoProcess(f"The working process did not start within {START_SECONDS_MAX:g} s.") from error
        except asyncio.IncompleteReadError as error:
            raise NoProcess("The working process ended before it listened: see its output.") from error

    async def do(self, work: int, seconds: float, *content: object) -> list[Any]:
        """Return the answer to a request.

        Raises WorkFailed, Interrupted, NoProcess; after these, or cancelled, the process has to be ended.
        """
        self.works += 1
        requests = cast(asyncio.StreamWriter, self._process.stdin)
        wall_seconds = WALL_FACTOR * seconds
        try:
            async with asyncio.timeout(wall_seconds):
                # Its own limit is the later one: it is for when nobody watches.
                requests.writelines(work_process.frame((work, seconds, 2 * wall_seconds, *content)))
                await requests.drain()
                return await self._answer()
        except TimeoutError as error:
            LOST.inc()
            raise Interrupted(
                f"It took longer than {wall_seconds:g} s, without computing for {seconds:g} s."
            ) from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise self._died(await self._process.wait(), seconds) from error

    def _died(self, code: int, seconds: float) -> Exception:
        if code >= 0:
            return NoProcess(f"The working process ended with exit code {code}: see its output.")
        LOST.inc()
        number = signal.Signals(-code)
        if number is signal.SIGPROF:
            return WorkFailed(f"It computed for longer than {seconds:g} s.")
        if number in _OWN_SIGNALS:
            return WorkFailed(f"The working process died of {number.name}.")
        return Interrupted(f"The working process was ended by {number.name}.")

    async def _answer(self) -> list[Any]:
        answers = cast(asyncio.StreamReader, self._process.stdout)
        length = await answers.readexactly(work_process.LENGTH_BYTES)
        body = await answers.readexactly(int.from_bytes(length, "big"))
        answer: list[Any] = msgpack.unpackb(body, strict_map_key=False)
        return answer

    async def end(self) -> None:
        """Kill the process and wait until it is gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        # communicate() rather than wait(): the pipes have to be closed too, whatever is still in them.
        await self._process.communicate()
