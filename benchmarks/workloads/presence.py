"""W6: people on one board of one node who move their cursors, and an edit now and then beside it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

from benchmarks.load import messages
from benchmarks.load.client import Client
from benchmarks.load.deliveries import Deliveries, Feed
from benchmarks.load.pacing import pace
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.updates import Author
from benchmarks.workloads.board import Tell, came, fill, history, people, send_paced, sender
from boardlog.awareness import State, encode

SHAPES = 50


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    people: tuple[int, ...] = (50, 200, 500)
    moves_per_second: int = 10
    """Of each."""
    edits_per_second: int = 10
    """Of one of them; a reader's latency is measured."""
    seconds: float = 6.0


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure each number of people, on a board of their own."""
    for count in sizes.people:
        tell(f"{count} people")
        await system.emptied()
        yield await _part(system, sizes, count)


async def _part(system: System, sizes: Sizes, count: int) -> Part:
    board, author = new_board(), Author(client=1)
    edits = round(sizes.edits_per_second * sizes.seconds)
    deliveries = Deliveries(expected=edits)
    async with people() as crowd:
        await fill(system.url(board), history(author, SHAPES, moves=0))
        writer, reader = await crowd.join(system.url(board), 2)
        reader.feed = feed = Feed(deliveries, after=author.changes)
        members = await crowd.join(system.url(board), count)
        changes = [messages.update(author.put(number % SHAPES)) for number in range(edits)]
        for number, member in enumerate(members):
            member.send(_cursor(number, 1))
        await system.settle()
        before = came(members)
        moving = asyncio.create_task(_move(members, sizes))
        sent = await send_paced(system, sizes.edits_per_second, edits, deliveries, sender([(writer, feed)], changes))
        frames, size = (now - then for now, then in zip(came(members), before, strict=True))
        await moving
    seconds = sent.used.seconds
    return Part(
        workload="W6",
        name=f"{count} people",
        parameters={"people": count, "moves_per_second": sizes.moves_per_second},
        unit="move",
        units=round(count * sizes.moves_per_second * sizes.seconds),
        latency=sent.latency,
        figures={
            **sent.figures,
            "relay_busy_share": sent.used.cpu_seconds["relay-0"] / seconds,
            "frames_per_member_and_second": frames / count / seconds,
            "kib_per_member_and_second": size / 1024 / count / seconds,
        },
        **asdict(sent.used),
    )


async def _move(members: list[Client], sizes: Sizes) -> None:
    """Let everybody move, in turn and evenly."""
    count = len(members)

    def send(number: int, _due: float) -> None:
        members[number % count].send(_cursor(number % count, 2 + number // count))

    await pace(count * sizes.moves_per_second, round(count * sizes.moves_per_second * sizes.seconds), send)


def _cursor(person: int, clock: int) -> bytes:
    """Return a person's state as tldraw's presence has it, in short: where the cursor is, and whose it is."""
    state = {
        "user": {"id": f"person-{person:04d}", "name": f"Person {person}", "color": "tomato"},
        "cursor": {"x": clock * 7 % 2000 + 0.5, "y": clock * 5 % 1500 + 0.5, "type": "default", "rotation": 0},
        "selectedShapeIds": [],
    }
    text = json.dumps(state, separators=(",", ":")).encode()
    return messages.awareness(encode([State(100_000 + person, clock, text)]))
