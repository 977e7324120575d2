"""W7: what a worker takes to fold the updates that wait on one board."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import aiohttp

from benchmarks.meter import measured, resident_bytes, watched
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.updates import Author
from benchmarks.workloads.board import Tell, fill

FOLD_SECONDS_MAX = 180.0
POLL_SECONDS = 0.2
SHAPES = 500
"""On the board: the updates move them in turn."""
_FOLDED = re.compile(r"^compacted_bytes_total (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    waiting: tuple[int, ...] = (1000, 10_000, 100_000)
    """Updates, each of one shape; those of one moment are joined on their way into the log, as they would be."""


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure each number of updates, on a board of its own, which is due at once when its writer leaves."""
    for waiting in sizes.waiting:
        tell(f"{waiting} updates wait")
        await system.emptied()
        yield await _part(system, waiting)


async def _part(system: System, waiting: int) -> Part:
    board, author = new_board(), Author(client=1)
    updates = [author.put(number % SHAPES) for number in range(waiting)]
    worker = system.pids["worker"]
    async with aiohttp.ClientSession() as http, watched(worker) as peak:
        before = await _folded_bytes(http, system)
        with _stopped(worker):
            # The last one comes alone: who leaves a room that has just folded all there is does not hasten its board.
            await fill(system.url(board), updates[:-1])
            await system.settle()
            await fill(system.url(board), updates[-1:])
            await system.emptied()  # by then the board is marked as due
        resident = peak.resident_bytes = resident_bytes(worker)
        with measured(system.pids) as used:
            await _folded(http, system, before)
    return Part(
        workload="W7",
        name=f"{waiting} updates",
        parameters={"waiting": waiting, "shapes": SHAPES},
        unit="update",
        units=waiting,
        figures={
            "updates_per_worker_cpu_second": waiting / used.cpu_seconds["worker"],
            "worker_peak_mib": peak.resident_bytes / 2**20,
            "worker_before_mib": resident / 2**20,
        },
        **asdict(used),
    )


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _folded(http: aiohttp.ClientSession, system: System, before: float) -> None:
    """Return when the worker has folded more than `before`, and nothing more while it was at rest. Raises TimeoutError.

    How many bytes those will be nobody knows: what comes at once is joined on its way into the log.
    """
    async with asyncio.timeout(FOLD_SECONDS_MAX):
        while (folded := await _folded_bytes(http, system)) == before:  # noqa: ASYNC110  another process folds
            await asyncio.sleep(POLL_SECONDS)
        is_done = False
        while not is_done:
            await system.settle()
            earlier, folded = folded, await _folded_bytes(http, system)
            is_done = folded == earlier


async def _folded_bytes(http: aiohttp.ClientSession, system: System) -> float:
    """Return how many bytes of updates the worker has folded so far."""
    async with http.get(f"{system.worker}/metrics") as answer:
        found = _FOLDED.search(await answer.text())
    return float(found[1]) if found else 0.0
