"""W4: connections of which nothing is asked but to be there."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

from benchmarks.load import messages
from benchmarks.load.pacing import pace
from benchmarks.meter import Used, measured, resident_bytes
from benchmarks.result import Part
from benchmarks.system import System, new_board
from benchmarks.workloads.board import People, Tell, people
from boardlog.awareness import State, encode

RENEWAL_SECONDS = 15.0
"""Stock clients renew their awareness about this often."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it."""

    connections: int = 1000
    boards: int = 100
    silent_seconds: float = 32.0
    """Long enough for a heartbeat of each."""
    renewing_seconds: float = RENEWAL_SECONDS


async def measure(sizes: Sizes, system: System, tell: Tell) -> AsyncIterator[Part]:
    """Measure connections that are silent, then those that renew their awareness. All are on one node."""
    await system.settle()
    before = resident_bytes(system.pids["relay-0"])
    async with people() as crowd:
        tell(f"{sizes.connections} connections")
        boards = [new_board() for _ in range(sizes.boards)]
        for number, board in enumerate(boards):
            here = sizes.connections * (number + 1) // sizes.boards - sizes.connections * number // sizes.boards
            await crowd.join(system.url(board), here)
        await system.settle()
        resident = resident_bytes(system.pids["relay-0"])
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
    percent = {f"{process}_cpu_percent": 100 * cpu / used.seconds for process, cpu in used.cpu_seconds.items()}
    return Part(
        workload="W4",
        name=name,
        parameters={"connections": sizes.connections, "boards": sizes.boards},
        unit="connection and second",
        units=round(sizes.connections * used.seconds),
        seconds=used.seconds,
        cpu_seconds=used.cpu_seconds,
        load_busy=used.load_busy,
        others_busy=used.others_busy,
        figures={"relay_cpu_percent": percent["relay-0_cpu_percent"], **figures},
    )
