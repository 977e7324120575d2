"""Valkey dies, hangs, loses its memory, or cannot write, under load."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from boardctl.children import Child, Supervisor
from boardctl.servers import valkey
from tests.faults.limits import WITHOUT_LIMIT, files_grow_to
from tests.faults.load import Load, under_load
from tests.faults.report import Report
from tests.services import System, system

AWAY_SECONDS = 6.0
"""Longer than a command may take (5 s), shorter than appends are repeated (20 s)."""
REFUSED_SECONDS = 3.0
BACK_GOAL_SECONDS = 5
"""After it is there again."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Child]:
    """A Valkey of this test's own, to be hurt. A file that may not grow is an error to it, as on a full disk."""
    child = valkey(tmp_path / "valkey")
    ignoring = ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh"]
    child = Child(replace(child.program, command=[*ignoring, *child.program.command]))
    async with Supervisor().running([child]):
        yield child


@pytest.fixture
async def hurt(server: Child, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    """A system on that Valkey."""
    async with system(server.url, database, redis_key_prefix, tmp_path) as made:
        yield made


@asynccontextmanager
async def loaded(world: System) -> AsyncIterator[Load]:
    relays, bridge, _ = await asyncio.gather(
        world.relays(3), world.start("bridge"), world.start("persistence_worker", SWEEP_SECONDS="5")
    )
    async with under_load(world, relays, [bridge], editors=6, viewers=3, agents=2) as load:
        yield load


@asynccontextmanager
async def killed(server: Child) -> AsyncIterator[None]:
    await server.kill()
    yield
    await server.start()


@asynccontextmanager
async def stopped(server: Child) -> AsyncIterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    yield
    server.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def disk_full(server: Child) -> AsyncIterator[None]:
    files_grow_to(0, [server.pid])
    yield
    files_grow_to(WITHOUT_LIMIT, [server.pid])


@asynccontextmanager
async def out_of_memory(world: System) -> AsyncIterator[None]:
    await world.stores.redis.config_set("maxmemory", "1mb")
    yield
    await world.stores.redis.config_set("maxmemory", 0)


async def somebody_joins(load: Load) -> None:
    async with load.joiner():
        pass


@pytest.mark.timeout(240)
async def test_L10_G1_valkey_that_dies_hangs_or_cannot_write_costs_nobody_an_edit_nor_a_connection(
    server: Child, hurt: System, report: Report
) -> None:
    """Edits are held back and repeated, nobody is sent away, and who joins gets the board as the node holds it."""
    faults = {
        "SIGKILL of Valkey": (killed(server), AWAY_SECONDS),
        "SIGSTOP of Valkey": (stopped(server), AWAY_SECONDS),
        "Valkey's disk is full": (disk_full(server), REFUSED_SECONDS),
        "Valkey has no memory left": (out_of_memory(hurt), REFUSED_SECONDS),
    }
    async with loaded(hurt) as load:
        for name, (fault, seconds) in faults.items():
            async with load.running():
                await load.flows()
                async with fault:
                    await load.fault()
                    await asyncio.gather(asyncio.sleep(seconds), somebody_joins(load))
                back = await load.back(60)
            await load.lost_nothing(report, f"{name}, {seconds:g} s", back, goal_seconds=seconds + BACK_GOAL_SECONDS)
            assert [one for one in back if one.closes] == []
            assert any(one.noticed for one in back), name
            await load.compacted()


@asynccontextmanager
async def killed_and(server: Child, loses: Callable[[Path], object]) -> AsyncIterator[None]:
    await server.kill()
    loses(Path(server.program.folder or ".") / "appendonlydir")
    yield
    await server.start()


def its_end(files: Path) -> None:
    """Cut off what had not reached the disk when the power failed: more than a second's worth."""
    (file,) = files.glob("*.incr.aof")
    os.truncate(file, file.stat().st_size * 3 // 4)


@pytest.mark.timeout(240)
async def test_G4_L6_what_valkey_forgets_the_browsers_bring_back(server: Child, hurt: System, report: Report) -> None:
    faults = {
        "Valkey back without its last entries": killed_and(server, its_end),
        "Valkey back without the snapshot's entry": killed_and(server, its_end),
        "Valkey back empty": killed_and(server, shutil.rmtree),
    }
    async with loaded(hurt) as load:
        for name, fault in faults.items():
            async with load.running():
                await load.flows()
                async with fault:
                    await load.fault()
                back = await load.back(60)
            await load.lost_nothing(report, name, back, goal_seconds=30)
            assert [one for one in back if one.closes] == []
            await load.compacted()
            assert await load.lost() == []
