"""W2: many boards, on each a writer on one node and a reader on the other, or one who is both."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

from benchmarks.load import messages
from benchmarks.load.client import Client
from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.updates import Author
from benchmarks.workloads.board import JOINING_MAX, People, Tell, people, send_paced, sender

SHAPES = 5
"""On each board."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    nodes: int = 2
    """On one alone, each writer reads its own changes, which come back from the log as everybody's do."""
    boards: tuple[int, ...] = (100, 1000, 3000)
    rate: int = 500
    """Updates a second, over all boards in turn."""
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class _Pair:
    """A board with its people."""

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
    before = system.relays_resident_bytes(sizes.nodes)
    async with people() as crowd:
        deliveries = Deliveries(expected=count)
        pairs = await _open(system, crowd, sizes.nodes, boards, deliveries)
        resident = system.relays_resident_bytes(sizes.nodes)
        await system.settle()
        changes = [
            messages.update(pairs[number % boards].author.put(number // boards % SHAPES)) for number in range(count)
        ]
        send = sender([(pair.writer, pair.feed) for pair in pairs], changes)
        sent = await send_paced(system, sizes.rate, count, deliveries, send)
    return Part(
        workload="W2",
        name=f"{boards} boards" if sizes.nodes > 1 else f"{boards} boards on one node",
        parameters={"boards": boards, "rate": sizes.rate, "nodes": sizes.nodes},
        unit="update",
        units=deliveries.count,
        latency=sent.latency,
        figures={**sent.figures, "relays_kib_per_board": (resident - before) / 1024 / boards},
        **asdict(sent.used),
    )


async def _open(system: System, crowd: People, nodes: int, boards: int, deliveries: Deliveries) -> list[_Pair]:
    """Open the boards on the first node, and let a reader join on the last one, if that is another."""
    few = asyncio.Semaphore(JOINING_MAX)

    async def pair(number: int) -> _Pair:
        async with few:
            board, author = new_board(), Author(client=1000 + number)
            (reader,) = (writer,) = await crowd.join(system.url(board))
            if nodes > 1:
                (reader,) = await crowd.join(system.url(board, nodes - 1))
            reader.feed = Feed(deliveries, after=author.changes)
            return _Pair(author, writer, reader.feed)

    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(pair(number)) for number in range(boards)]
    return [task.result() for task in opening]
