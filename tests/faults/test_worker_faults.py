"""Workers that die, or stop and wake up, in the middle of compaction."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from boardlog.due import RedisDue
from boardlog.keys import Keys
from boardlog.scripts import Scripts
from tests.cable import Cable
from tests.faults.load import under_load
from tests.faults.report import Report
from tests.services import Service, System

KILLS = 3
PAUSES = 8
ANSWER_SECONDS = 0.02
"""What each answer of PostgreSQL takes to the workers, so that a pass has a middle that can be hit."""
PASS_SECONDS = 0.25
STORED_SECONDS_MAX = 25.0
IN_FLIGHT_SECONDS = 0.2
"""What a stopped worker said last has reached PostgreSQL by then."""


class Workers:
    """Workers whose passes take a while, on a board that is always due: so they follow each other, and overlap."""

    def __init__(self, world: System, database_url: str) -> None:
        self._world = world
        self._database_url = database_url
        self._numbers = itertools.count()

    async def start(self) -> Service:
        name = f"worker-{next(self._numbers)}"
        joint = "&" if "?" in self._database_url else "?"
        url = f"{self._database_url}{joint}application_name={name}"
        return await self._world.start("persistence_worker", name, DATABASE_URL=url)

    @asynccontextmanager
    async def always_due(self) -> AsyncIterator[None]:
        async def mark() -> None:
            redis = self._world.stores.redis
            due = RedisDue(redis, Scripts(redis), Keys(self._world.redis_key_prefix))
            while True:
                await due.mark([self._world.board], 0)
                await asyncio.sleep(0.1)

        marking = asyncio.create_task(mark())
        try:
            yield
        finally:
            marking.cancel()
            await asyncio.gather(marking, return_exceptions=True)

    async def version(self) -> int:
        return (await self._world.stores.snapshots.load(self._world.board)).version

    async def store(self, more: int = 2) -> None:
        """Wait until some more snapshots are stored, by whomever."""
        wanted = await self.version() + more
        async with asyncio.timeout(STORED_SECONDS_MAX):
            while await self.version() < wanted:
                await asyncio.sleep(0.05)

    async def pause_in_its_transaction(self, worker: Service) -> None:
        """Stop a worker that has written its snapshot and not committed it."""
        while True:
            while not await self._is_in_transaction(worker):
                await asyncio.sleep(0.002)
            worker.pause()
            await asyncio.sleep(IN_FLIGHT_SECONDS)
            if await self._is_in_transaction(worker):
                return
            worker.resume()

    async def _is_in_transaction(self, worker: Service) -> bool:
        return bool(
            await self._world.stores.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'idle in transaction'"
                " AND query LIKE 'UPDATE canvas_snapshots%'",
                worker.name,
            )
        )


async def compacts(worker: Service) -> None:
    """Wait until a worker is in the midst of a pass."""
    while not (await worker.get("/health"))[1]["compacting"]:
        await asyncio.sleep(0.002)


@pytest.mark.timeout(180)
async def test_G3_L7_killed_and_stopped_workers_lose_nothing_and_overwrite_nothing(
    world: System, report: Report
) -> None:
    relays = await world.relays(2)
    bridge = await world.start("bridge")
    async with Cable(world.database_url) as cable, under_load(world, relays, [bridge]) as load:
        cable.chunk_seconds = ANSWER_SECONDS
        workers = Workers(world, cable.url)
        one, other = await asyncio.gather(workers.start(), workers.start())
        async with load.running(), workers.always_due():
            await load.flows()
            for _ in range(KILLS):
                await compacts(one)
                one.kill()
                one, other = other, await workers.start()
            await workers.store()
        await load.lost_nothing(
            report, f"SIGKILL of workers, {KILLS} times", note=f"{await workers.version()} snapshots"
        )

        async with load.running(), workers.always_due():
            for _ in range(PAUSES):
                await compacts(one)
                await asyncio.sleep(random.random() * PASS_SECONDS)
                one.pause()
                await workers.store()
                one.resume()
                one, other = other, one
            await workers.pause_in_its_transaction(one)
            await workers.store()
            one.resume()
            await workers.store()
        await load.lost_nothing(
            report, f"SIGSTOP of workers, {PAUSES} times", note=f"{await workers.version()} snapshots"
        )
    for worker in (one, other):
        assert "compaction_failed" not in worker.log.read_text()
    for relay in relays:  # what an overwritten snapshot lacks, browsers would bring back: nothing was to be brought
        assert "board_reloaded" not in relay.log.read_text()
