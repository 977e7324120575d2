"""Folding in processes of their own, which may hang or die of an update without hurting anybody else (G6).

Not a ProcessPoolExecutor: there one child's death fails every board's fold at once, a hung child cannot be ended, an
idle one outlives a killed parent, and with `max_tasks_per_child` a queue of calls stalls for good (Python 3.11, seen).
"""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgpack
import structlog
from prometheus_client import Counter

from boardlog import fold_process
from boardlog.errors import BoardLogError, InvalidUpdate
from boardlog.merge import Folded
from boardlog.telemetry import METRICS

log = structlog.get_logger()

PROCESSES_MAX = 2
FOLDS_PER_PROCESS_MAX = 200
"""A process ends after these: what its allocator holds on to goes back to the system."""
FOLD_SECONDS_MAX = 30.0
"""A slice of the smallest updates there are takes about 5 s (30 us each): one that takes this long hangs."""
START_SECONDS_MAX = 30.0
"""What a process may take until it listens. No update's doing: on a busy machine its imports alone take seconds."""
SLICE_BYTES_MAX = 8 * 1024 * 1024
"""Updates that are folded at once: the log of a board that could not be stored for hours is folded in slices."""
FAILURES_MAX = 64
"""What one board may cost: two updates in ten thousand that kill a process are found with about 30 failures."""
PIPE_BYTES = 1024 * 1024
PROGRAM = fold_process.__name__

LOST = Counter("fold_processes_lost_total", "Folding processes that died or hung", registry=METRICS)


class FoldFailed(BoardLogError):
    """A fold did not come to an end, through no fault of one update."""


class _Unfoldable(Exception):
    """Something among what was to be folded may not be; the message is a sentence."""


class _ProcessLost(_Unfoldable):
    """The process died or hung."""


class Folder:
    """Folds in at most `processes_max` processes, each started when it is first needed."""

    def __init__(self, processes_max: int = PROCESSES_MAX, seconds_max: float = FOLD_SECONDS_MAX) -> None:
        """Start nothing yet. Make it, use it and close it on one event loop."""
        self._slots = asyncio.Semaphore(processes_max)
        self._seconds_max = seconds_max
        self._idle: list[_FoldProcess] = []

    async def warm(self) -> None:
        """Start a process before anybody waits for it. Cancel-safe."""
        async with self._process():
            pass

    async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        """Do what `merge.fold` does, but reject also what makes it fail, hang or kill its process; fold the rest.

        Raises InvalidUpdate if the base cannot be folded, FoldFailed. Cancelled, it ends its process.
        """
        todo = deque(_slices(updates))
        rejected: list[int] = []
        failures = 0
        vector = b""
        while todo:
            part = todo.popleft()
            try:
                folded = await self._fold(base, updates[part.start : part.stop])
            except _Unfoldable as error:
                failures += 1
                log.warning("fold_failed", updates=len(part), failures=failures, reason=str(error))
                if failures > FAILURES_MAX:
                    raise FoldFailed(f"It failed {failures} times, the last time so: {error}") from error
                if failures == 1 and isinstance(error, _ProcessLost):
                    todo.appendleft(part)  # it may have been ended from outside
                    continue
                if len(part) > 1:
                    middle = (part.start + part.stop) // 2
                    todo.extendleft((range(middle, part.stop), range(part.start, middle)))
                    continue
                folded = await self._fold_base(base)
                rejected.extend(part)
            else:
                rejected.extend(part.start + place for place in folded.rejected)
            base, vector = folded.state, folded.state_vector
        return Folded(base, vector, rejected)

    async def close(self) -> None:
        """End the processes that wait for work. Folds under way are ended by cancelling them."""
        while self._idle:
            await self._idle.pop().end()

    async def _fold_base(self, base: bytes) -> Folded:
        try:
            return await self._fold(base, [])
        except _Unfoldable as error:
            raise InvalidUpdate(f"The board's stored state needs an operator, it cannot be folded. {error}") from error

    async def _fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        async with self._process() as process:
            answer, *content = await process.ask((base, list(updates)))
        if answer == fold_process.FAILED:
            raise _Unfoldable(*content)
        return Folded(*content)

    @asynccontextmanager
    async def _process(self) -> AsyncIterator["_FoldProcess"]:
        """Yield a process of one's own; one that was not left in peace is ended."""
        async with self._slots:
            process = self._idle.pop() if self._idle else await _FoldProcess.start(self._seconds_max)
            try:
                yield process
            except BaseException:
                await process.end()
                raise
            if process.folds < FOLDS_PER_PROCESS_MAX:
                self._idle.append(process)
            else:
                await process.end()


class _FoldProcess:
    """One child that runs `fold_process.py`."""

    def __init__(self, process: Process, seconds_max: float) -> None:
        self.folds = 0
        self._process = process
        self._seconds_max = seconds_max

    @classmethod
    async def start(cls, seconds_max: float) -> "_FoldProcess":
        # A program of its own rather than a fork: no sockets, no locks, no memory of ours. Its session is its own as
        # well, so that Ctrl-C does not reach it. Its own limit is the later one: it is for when nobody watches.
        safe_path = ("-P",) if sys.flags.safe_path else ()
        command = (sys.executable, *safe_path, "-m", PROGRAM, str(2 * seconds_max))
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, limit=PIPE_BYTES, start_new_session=True
        )
        started = cls(process, seconds_max)
        try:
            await started._listens()
        except BaseException:
            await started.end()
            raise
        return started

    async def _listens(self) -> None:
        """Wait until it has said so, before any fold's time counts. Raises FoldFailed."""
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._answer()
        except TimeoutError as error:
            raise FoldFailed(f"The folding process did not start within {START_SECONDS_MAX:g} s.") from error
        except asyncio.IncompleteReadError as error:
            raise FoldFailed("The folding process ended before it listened: see its output.") from error

    async def ask(self, request: object) -> list[Any]:
        """Send a request and return the answer. Raises _ProcessLost, or FoldFailed if it is not an update's doing."""
        self.folds += 1
        requests = cast(asyncio.StreamWriter, self._process.stdin)
        try:
            async with asyncio.timeout(self._seconds_max):
                requests.write(fold_process.frame(request))
                await requests.drain()
                return await self._answer()
        except TimeoutError as error:
            LOST.inc()
            raise _ProcessLost(f"It took longer than {self._seconds_max:g} s.") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            code = await self._process.wait()
            if code >= 0:
                raise FoldFailed(f"The folding process ended with exit code {code}: see its output.") from error
            LOST.inc()
            raise _ProcessLost(f"The folding process died of {signal.Signals(-code).name}.") from error

    async def _answer(self) -> list[Any]:
        answers = cast(asyncio.StreamReader, self._process.stdout)
        length = await answers.readexactly(fold_process.LENGTH_BYTES)
        answer: list[Any] = msgpack.unpackb(await answers.readexactly(int.from_bytes(length, "big")))
        return answer

    async def end(self) -> None:
        """Kill the process and wait until it is gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        # communicate() rather than wait(): the pipes have to be closed too, whatever is still in them.
        await self._process.communicate()


def _slices(updates: Sequence[bytes]) -> Iterator[range]:
    """Cut into pieces of about SLICE_BYTES_MAX; at least one, empty if there are no updates."""
    start = size_bytes = 0
    for place, update in enumerate(updates):
        if size_bytes and size_bytes + len(update) > SLICE_BYTES_MAX:
            yield range(start, place)
            start, size_bytes = place, 0
        size_bytes += len(update)
    yield range(start, len(updates))
