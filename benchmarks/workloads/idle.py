"""W4: connections of which nothing is asked but to be there."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass

from benchmarks.load import messages
from benchmarks.load.pacing import pace
from benchmarks.meter import Used, measured
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.workloads.board import People, Tell, evenly, people
from boardlog.awareness import State, encode

RENEWAL_SECONDS = 15.0
"""Stock clients renew their awareness about this often."""
PEOPLE_PER_BOARD = 10
"""However many connections there are: who renews is heard by those on the same board."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    connections: int = 1000
    silent_seconds: float = 32.0
    """Long enough for a heartbeat of each."""
    renewing_seconds: float = RENEWAL_SECONDS

    @property
    def boards(self) -> int:
        """On which they are."""
        return max(1, self.connections // PEOPLE_PER_BOARD)


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure connections that are silent, then those that renew their awareness. All are on one node."""
    await system.settle()
    before = system.relays_resident_bytes(1)
    async with people() as crowd:
        tell(f"{sizes.connections} connections")
        for here in evenly(sizes.connections, sizes.boards):
            await crowd.join(system.url(new_board()), here)
        await system.settle()
        resident = system.relays_resident_bytes(1)
        tell("silent")
        with measured(system.pids) as used:
            await asyncio.sleep(sizes.silent_seconds)
        figures = {"relay_kib_per_connection": (resident - before) / 1024 / sizes.connections}
        yield _part("silent", sizes, used, figures)
        tell("renewing")
        with measured(system.pids) as used:
            await _renew(crowd, sizes)
        yield _part("renewing awareness every 15 s", sizes, used, {})


async def _renew(crowd: People, sizes: Sizes) -> None:
    states = [_state(number) for number in range(sizes.connections)]
    rate = sizes.connections / RENEWAL_SECONDS

    def send(number: int, _due: float) -> None:
        person = number % sizes.connections
        crowd.clients[person].send(messages.awareness(encode([State(person + 1, 1 + number, states[person])])))

    await pace(rate, round(rate * sizes.renewing_seconds), send)


def _state(number: int) -> bytes:
    return json.dumps({"user": {"name": f"Person {number}", "color": "tomato"}}, separators=(",", ":")).encode()


def _part(name: str, sizes: Sizes, used: Used, figures: dict[str, float]) -> Part:
    return Part(
        workload="W4",
        name=name,
        parameters={"connections": sizes.connections, "boards": sizes.boards},
        unit="connection and second",
        units=round(sizes.connections * used.seconds),
        figures={"relay_cpu_percent": 100 * used.cpu_seconds["relay-0"] / used.seconds, **figures},
        **asdict(used),
    )
