"""What all workloads do: fill a board, let people join it, send and count."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from benchmarks.histogram import Histogram
from benchmarks.load import messages
from benchmarks.load.client import Client, connected
from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.load.pacing import pace
from benchmarks.meter import Used, measured
from benchmarks.system import System
from benchmarks.updates import Author

JOINING_MAX = 50
"""So many join at a time, where it is not joining that is measured."""
UNSAVED_BYTES_MAX = 512 * 1024
"""On their way to the log. They come back to their author at once, who would be too slow (4508) for a few megabytes."""
CATCH_UP_SECONDS_MAX = 20.0
"""How long after the last change its delivery is waited for."""
SHAPES_PER_CHANGE = 10
"""In a change that fills a board or gives it a history: pasted, or moved together."""

Tell = Callable[[str], None]
"""Says what is being done, to whoever watches."""


@dataclass(slots=True)
class People:
    """Clients that hang up together."""

    clients: list[Client] = field(default_factory=list)

    async def join(self, url: str, count: int = 1, state_vector: bytes = messages.EMPTY_STATE_VECTOR) -> list[Client]:
        """Let `count` more people join a board; return them. Raises Closed."""
        few = asyncio.Semaphore(JOINING_MAX)

        async def enter() -> Client:
            async with few:
                client = await connected(url)
                self.clients.append(client)
                await client.join(state_vector)
                return client

        async with asyncio.TaskGroup() as group:
            entering = [group.create_task(enter()) for _ in range(count)]
        return [task.result() for task in entering]


@asynccontextmanager
async def people() -> AsyncIterator[People]:
    """Yield nobody yet; whoever joined has hung up afterwards."""
    some = People()
    try:
        yield some
    finally:
        for client in some.clients:
            client.hang_up()


async def fill(url: str, updates: Sequence[bytes]) -> None:
    """Send all of these to a board, UNSAVED_BYTES_MAX at a time; return when the log has them. Raises Closed."""
    async with people() as crowd:
        (writer,) = await crowd.join(url)
        unsaved = 0
        for update in updates:
            writer.send(messages.update(update))
            unsaved += len(update)
            if unsaved > UNSAVED_BYTES_MAX:
                await writer.all_saved()
                unsaved = 0
        await writer.all_saved()


def evenly(count: int, among: int) -> list[int]:
    """Return how many each of `among` gets, of `count`: as even as whole numbers are."""
    return [count * (number + 1) // among - count * number // among for number in range(among)]


def came(clients: Sequence[Client]) -> tuple[int, int]:
    """Return the frames and the bytes that these clients were sent so far."""
    return sum(client.frames for client in clients), sum(client.bytes for client in clients)


def history(author: Author, shapes: int, moves: int) -> list[bytes]:
    """Return the updates of an author who makes so many shapes and then moves each so many times."""
    return [
        author.put(*range(first, min(first + SHAPES_PER_CHANGE, shapes)))
        for _ in range(moves + 1)
        for first in range(0, shapes, SHAPES_PER_CHANGE)
    ]


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of changes that were sent at a rate."""

    used: Used
    deliveries: Deliveries
    late_p99_ms: float

    @property
    def latency(self) -> Histogram:
        """From when each change was due until a reader had it."""
        return Histogram.of_seconds(self.deliveries.latencies)

    @property
    def figures(self) -> dict[str, float]:
        """What tells whether it went well."""
        return {
            "delivered_share": self.deliveries.count / max(1, self.deliveries.expected),
            "sent_late_p99_ms": self.late_p99_ms,
        }


def sender(writers: Sequence[tuple[Client, Feed]], changes: Sequence[bytes]) -> Callable[[int, float], None]:
    """Return what sends change `number`, due at a time, to whoever reads that feed; the writers take turns."""

    def send(number: int, due: float) -> None:
        writer, feed = writers[number % len(writers)]
        feed.send(due)
        writer.send(changes[number])

    return send


async def send_paced(
    system: System, rate: float, count: int, deliveries: Deliveries, send: Callable[[int, float], None]
) -> Sent:
    """Send `count` changes, `rate` a second; measure until all are delivered, or CATCH_UP_SECONDS_MAX."""
    with measured(system.pids) as used:
        late = await pace(rate, count, send)
        await caught_up(deliveries)
    return Sent(used, deliveries, Histogram.of_seconds(late).percentile_us(99) / 1000)


async def caught_up(deliveries: Deliveries) -> None:
    """Wait until all is delivered, or for CATCH_UP_SECONDS_MAX. Cancel-safe."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
            await deliveries.complete.wait()
