"""W2: many boards, on each a writer on one node and a reader on the other."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from benchmarks.histogram import Histogram
from benchmarks.load import messages
from benchmarks.load.client import Client
from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.meter import resident_bytes
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.updates import Author
from benchmarks.workloads.board import JOINING_MAX, People, Tell, people, send_paced

SHAPES = 5
"""On each board."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    boards: tuple[int, ...] = (100, 1000, 3000)
    rate: int = 500
    """Updates a second, over all boards in turn."""
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class _Pair:
    """A board with its two people."""

    author: Author
    writer: Client
    feed: Feed


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure each number of boards, none of which was there before."""
    for boards in sizes.boards:
        tell(f"{boards} boards")
        await system.emptied()
        yield await _part(system, sizes, boards)


async def _part(system: System, sizes: Sizes, boards: int) -> Part:
    count = round(sizes.rate * sizes.seconds)
    before = _resident_bytes(system)
    async with people() as crowd:
        deliveries = Deliveries(expected=count)
        pairs = await _open(system, crowd, boards, deliveries)
        resident = _resident_bytes(system)
        await system.settle()
        changes = [
            messages.update(pairs[number % boards].author.put(number // boards % SHAPES)) for number in range(count)
        ]

        def send(number: int, due: float) -> None:
            pair = pairs[number % boards]
            pair.feed.send(due)
            pair.writer.send(changes[number])

        sent = await send_paced(system, sizes.rate, count, deliveries, send)
    return Part(
        workload="W2",
        name=f"{boards} boards",
        parameters={"boards": boards, "rate": sizes.rate},
        unit="update",
        units=deliveries.count,
        seconds=sent.used.seconds,
        cpu_seconds=sent.used.cpu_seconds,
        load_busy=sent.used.load_busy,
        others_busy=sent.used.others_busy,
        latency=Histogram.of_seconds(deliveries.latencies),
        figures={**sent.figures, "relays_kib_per_board": (resident - before) / 1024 / boards},
    )


async def _open(system: System, crowd: People, boards: int, deliveries: Deliveries) -> list[_Pair]:
    """Open the boards, and let a reader join on the other node."""
    few = asyncio.Semaphore(JOINING_MAX)

    async def pair(number: int) -> _Pair:
        async with few:
            board, author = new_board(), Author(client=1000 + number)
            (writer,) = await crowd.join(system.url(board, node=0))
            (reader,) = await crowd.join(system.url(board, node=1))
            reader.feed = Feed(deliveries, after=author.changes)
            return _Pair(author, writer, reader.feed)

    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(pair(number)) for number in range(boards)]
    return [task.result() for task in opening]


def _resident_bytes(system: System) -> int:
    return sum(resident_bytes(pid) for name, pid in system.pids.items() if name.startswith("relay"))
