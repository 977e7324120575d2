"""W3: joining a board with a history: one by one, at once, and after a short absence."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, partial

from pycrdt import Doc, Map

from benchmarks.histogram import Histogram
from benchmarks.load import messages
from benchmarks.load.client import Answer, Client, connected, know_nothing
from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.load.pacing import pace
from benchmarks.meter import Used, measured
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.updates import Author, records_in
from benchmarks.workloads.board import People, Tell, caught_up, fill, history, people, sender

BYSTANDER_UPDATES_PER_SECOND = 200
"""On another board of the node, while many join."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    shapes: tuple[int, ...] = (100, 1000, 10_000)
    moves: int = 5
    """Of each shape, before anybody joins."""
    missed: tuple[int, ...] = (1, 100, 1000)
    """Entries that a client that comes back has not seen, of one shape each."""
    joins: int = 30
    """One by one, and as many reconnects of each kind."""
    at_once: int = 100
    seconds: float = 3.0
    """How long the bystander is watched; everybody joins after a third of it."""


@dataclass(slots=True)
class _Joins:
    """How long joins took and what they brought."""

    seconds: list[float] = field(default_factory=list)
    bytes: int = 0

    def part(self, name: str, parameters: Mapping[str, int], used: Used, **figures: float) -> Part:
        """Return the measurement that these joins were."""
        count = len(self.seconds)
        return Part(
            workload="W3",
            name=name,
            parameters=parameters,
            unit="join",
            units=count,
            latency=Histogram.of_seconds(self.seconds),
            figures={"kib_per_join": self.bytes / 1024 / count, **figures},
            **asdict(used),
        )


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure each size of board. One member stays, so that the node has it open, as a board in use is."""
    for shapes in sizes.shapes:
        tell(f"{shapes} shapes: history")
        board, author = new_board(), Author(client=1)
        updates = history(author, shapes, sizes.moves)
        await fill(system.url(board), updates)
        await system.emptied()  # what a node that saw the board grow holds is a matter of when it last folded that
        async with people() as staying:
            await staying.join(system.url(board))
            tell(f"{shapes} shapes: joins one by one")
            await system.settle()
            yield await _first(system, board, shapes)
            yield await _one_by_one(system, board, shapes, sizes.joins)
            tell(f"{shapes} shapes: {sizes.at_once} joins at once")
            yield await _at_once(system, board, shapes, sizes)
            away: Doc[Map[object]] = Doc()
            for missed in sizes.missed:
                tell(f"{shapes} shapes: reconnects that missed {missed} changes")
                for update in updates:
                    away.apply_update(update)
                updates = [author.put(number % shapes) for number in range(missed)]
                await fill(system.url(board), updates)
                await system.settle()
                yield await _back(system, board, (away, author.doc), {"shapes": shapes, "missed": missed}, sizes.joins)


async def _first(system: System, board: str, shapes: int) -> Part:
    """Let somebody join on the other node, which has to load the board; see that all of it comes."""
    async with people() as crowd:
        with measured(system.pids) as used:
            joins = await _join(crowd, system.url(board, node=1), keep=True)
        found = len(records_in(crowd.clients[0].kept or []))
    if found != shapes:
        raise AssertionError(f"A joiner got {found} of {shapes} shapes.")
    return joins.part(f"{shapes} shapes, first on a node", {"shapes": shapes}, used)


async def _one_by_one(system: System, board: str, shapes: int, count: int) -> Part:
    joins, used = await _in_turn(system, board, count)
    return joins.part(f"{shapes} shapes, one by one", {"shapes": shapes}, used)


async def _at_once(system: System, board: str, shapes: int, sizes: Sizes) -> Part:
    """Let many join at once; then again, and measure what a reader of another board on that node feels of it."""
    await system.settle()
    async with people() as crowd:
        with measured(system.pids) as used:
            joins = await _join(crowd, system.url(board), sizes.at_once)
    async with people() as pair:
        bystander = await _Bystander.on(system, pair)
        await system.settle()
        alone = await bystander.feels(sizes.seconds)
        async with people() as crowd:
            during = await bystander.feels(sizes.seconds, partial(_join, crowd, system.url(board), sizes.at_once))
    return joins.part(
        f"{shapes} shapes, {sizes.at_once} at once",
        {"shapes": shapes, "at_once": sizes.at_once},
        used,
        bystander_alone_p99_ms=alone.percentile_us(99) / 1000,
        bystander_p99_ms=during.percentile_us(99) / 1000,
        bystander_max_ms=during.max_us / 1000,
    )


@dataclass(frozen=True, slots=True)
class _Bystander:
    """A writer and a reader on another board of the node."""

    author: Author
    writer: Client
    reader: Client

    @classmethod
    async def on(cls, system: System, pair: People) -> "_Bystander":
        """Let them join."""
        writer, reader = await pair.join(system.url(new_board()), 2)
        return cls(Author(client=2), writer, reader)

    async def feels(self, seconds: float, happening: Callable[[], Awaitable[object]] | None = None) -> Histogram:
        """Return the latencies of the reader, while after a third of the time something happens on the node."""
        after = self.author.changes
        changes = [messages.update(self.author.put(0)) for _ in range(round(BYSTANDER_UPDATES_PER_SECOND * seconds))]
        deliveries = Deliveries(expected=len(changes))
        self.reader.feed = feed = Feed(deliveries, after)
        send = sender([(self.writer, feed)], changes)
        async with asyncio.TaskGroup() as group:
            group.create_task(pace(BYSTANDER_UPDATES_PER_SECOND, len(changes), send))
            await asyncio.sleep(seconds / 3)
            if happening is not None:
                await happening()
        await caught_up(deliveries)
        return Histogram.of_seconds(deliveries.latencies)


async def _back(
    system: System,
    board: str,
    docs: tuple[Doc[Map[object]], Doc[Map[object]]],
    parameters: Mapping[str, int],
    count: int,
) -> Part:
    """Let clients that have the board but for its last changes come back, one by one."""
    away, whole = docs
    answer = cache(away.get_update)
    answer(whole.get_state())  # as the relay will ask: a client's own work is not measured
    joins, used = await _in_turn(system, board, count, away.get_state(), answer)
    return joins.part("{shapes} shapes, back after {missed} changes".format(**parameters), parameters, used)


async def _in_turn(
    system: System,
    board: str,
    count: int,
    state_vector: bytes = messages.EMPTY_STATE_VECTOR,
    answer: Answer = know_nothing,
) -> tuple[_Joins, Used]:
    """Let so many people join one by one, and stay until all have; measure it."""
    joins = _Joins()
    async with people() as crowd:
        with measured(system.pids) as used:
            for _ in range(count):
                one = await _join(crowd, system.url(board), state_vector=state_vector, answer=answer)
                joins.seconds += one.seconds
                joins.bytes += one.bytes
    return joins, used


async def _join(
    crowd: People,
    url: str,
    count: int = 1,
    *,
    state_vector: bytes = messages.EMPTY_STATE_VECTOR,
    answer: Answer = know_nothing,
    keep: bool = False,
) -> _Joins:
    """Let people join at once, and wait until the relay has taken their answers too."""
    joins = _Joins()

    async def enter() -> None:
        began = time.monotonic()
        client = await connected(url, answer)
        crowd.clients.append(client)
        if keep:
            client.kept = []
        joins.seconds.append(await client.join(state_vector) - began)
        joins.bytes += client.bytes
        await client.all_saved()

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(enter())
    return joins
