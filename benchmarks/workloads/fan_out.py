"""W1 and W5: one board, one writer, many readers, on one node or over two."""

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

from benchmarks.load import messages
from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.updates import Author
from benchmarks.workloads.board import Tell, came, evenly, fill, history, people, send_paced, sender


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    nodes: int = 1
    """The writer is on the first one; the readers take turns."""
    shapes: int = 200
    readers: tuple[int, ...] = (1, 50, 300)
    rates: tuple[int, ...] = (30, 300, 1000, 3000)
    """Updates a second."""
    seconds: float = 5.0


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure each number of readers at each rate, on a board of its own."""
    for readers in sizes.readers:
        for rate in sizes.rates:
            tell(f"{readers} readers, {rate} updates/s")
            await system.emptied()
            yield await _part(system, sizes, readers, rate)


async def _part(system: System, sizes: Sizes, readers: int, rate: int) -> Part:
    board, author = new_board(), Author(client=1)
    async with people() as crowd:
        await fill(system.url(board), history(author, sizes.shapes, moves=0))
        (writer,) = await crowd.join(system.url(board))
        count = round(rate * sizes.seconds)
        deliveries = Deliveries(expected=readers * count)
        feed = Feed(deliveries, after=author.changes)
        for node, here in enumerate(evenly(readers, sizes.nodes)):
            for reader in await crowd.join(system.url(board, node), here):
                reader.feed = feed
        changes = [messages.update(author.put(number % sizes.shapes)) for number in range(count)]
        before, _ = came(crowd.clients)
        sent = await send_paced(system, rate, count, deliveries, sender([(writer, feed)], changes))
        frames = came(crowd.clients)[0] - before
        resident = system.relays_resident_bytes(sizes.nodes)
    return Part(
        workload="W1" if sizes.nodes == 1 else "W5",
        name=f"{readers} {'reader' if readers == 1 else 'readers'}, {rate}/s",
        parameters={"readers": readers, "rate": rate, "nodes": sizes.nodes, "shapes": sizes.shapes},
        unit="delivery",
        units=deliveries.count,
        latency=sent.latency,
        figures={
            **sent.figures,
            "frames_per_delivery": frames / max(1, deliveries.count),
            "relays_mib": resident / 2**20,
        },
        **asdict(sent.used),
    )
