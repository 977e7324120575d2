"""Redis fails over, under load: to a replica that lags, as an operator plans it, and inside a cluster."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from boardctl.children import Child
from boardlog.keys import Keys
from tests.faults.load import Load, under_load
from tests.faults.report import Report
from tests.services import System, system
from tests.valkeys import ask, info, running_cluster, running_guarded, until

GOAL_SECONDS = 30
BACK_SECONDS_MAX = 60
COMPACTED_SECONDS_MAX = 30

EVENTS = ("board_reloaded", "board_rebuilt", "log_lost", "history_lost", "log_rebased", "append_given_up")
"""What the services say of a failover."""


@asynccontextmanager
async def loaded(world: System) -> AsyncIterator[Load]:
    """Yield people on two relays, and agents, all at work, and a worker that compacts."""
    relays, bridge, _ = await asyncio.gather(
        world.relays(2), world.start("bridge"), world.start("persistence_worker", SWEEP_SECONDS="5")
    )
    async with under_load(world, relays, [bridge], editors=6, viewers=2, agents=2) as load:
        yield load


@asynccontextmanager
async def lagging(master: Child, replica: Child) -> AsyncIterator[None]:
    """Let a replica get nothing any more, though the Sentinels think well of it."""
    password = (await ask(replica, "CONFIG GET", "masterauth"))["masterauth"]
    await ask(replica, "CONFIG SET", "masterauth", "wrong")
    await ask(master, "CLIENT KILL", "TYPE", "replica")
    yield
    await ask(replica, "CONFIG SET", "masterauth", password)


async def ids(server: Child, world: System) -> set[str]:
    """Return the ids of the board's log on this very server."""
    entries = await ask(server, "XRANGE", Keys(world.redis_key_prefix).log(world.board), "-", "+")
    return {entry[0] for entry in entries}


def said(world: System) -> Counter[str]:
    """Count what the services' logs say of it."""
    text = "".join(log.read_text() for log in world.logs.glob("*.log"))
    return Counter(re.findall("|".join(EVENTS), text))


async def compacted_beyond_head(load: Load) -> None:
    """Have the board compacted now; return when its snapshot holds more than the log does at this moment."""
    stores, board = load.system.stores, load.system.board
    head = await stores.streams.head(board)
    assert head is not None
    async with asyncio.timeout(COMPACTED_SECONDS_MAX):
        while (await stores.snapshots.load_cursor(board)).id <= head.id:
            await load.mark_due()  # again and again: a claim that was under way takes a mark with it when it ends
            await asyncio.sleep(0.1)


@pytest.mark.timeout(180)
async def test_G4_L3_L6_a_failover_to_a_replica_that_lags_loses_nothing(
    tmp_path: Path, database: str, redis_key_prefix: str, report: Report
) -> None:
    """Acknowledged entries are gone, and with them the entry of the newest snapshot; those who have them refill it."""
    async with (
        running_guarded(tmp_path / "redis") as redis,
        system(redis.url, database, redis_key_prefix, tmp_path) as world,
        loaded(world) as load,
    ):
        (replica,) = redis.replicas
        async with load.running():
            await load.flows()
            async with lagging(redis.master, replica):
                await compacted_beyond_head(load)
                await load.flows()
                acknowledged = await ids(redis.master, world)
                await load.fault()
                await redis.master.kill()
                await until(redis.is_replaced)
            back = await load.back(BACK_SECONDS_MAX)
            gone = acknowledged - await ids(replica, world)
            await redis.master.start()  # as a master, until the Sentinels say what it is
            await compacted_beyond_head(load)
            await load.flows()
        assert gone
        events = said(world)
        assert {"board_reloaded", "history_lost", "log_rebased"} <= events.keys()
        await load.lost_nothing(
            report,
            "Sentinel failover, replica lags",
            back,
            goal_seconds=GOAL_SECONDS,
            note=f"{len(gone)} logged entries gone; {dict(events)}",
        )


@pytest.mark.timeout(180)
async def test_G4_L10_a_planned_failover_loses_nothing(
    tmp_path: Path, database: str, redis_key_prefix: str, report: Report
) -> None:
    """For some seconds there are two masters: what the old one takes then is lost when it is told that it is none."""
    async with (
        running_guarded(tmp_path / "redis") as redis,
        system(redis.url, database, redis_key_prefix, tmp_path) as world,
        loaded(world) as load,
    ):
        async with load.running():
            await load.flows()
            await load.fault()
            await redis.failover()
            await until(redis.is_replaced)
            back = await load.back(BACK_SECONDS_MAX)
            gone = await ids(redis.master, world) - await ids(redis.replicas[0], world)

            async def demoted() -> bool:
                return bool((await info(redis.master, "replication"))["role"] == "slave")

            await until(demoted)
            await load.flows()
        await load.lost_nothing(
            report,
            "SENTINEL FAILOVER",
            back,
            goal_seconds=GOAL_SECONDS,
            note=f"{len(gone)} logged entries gone; {dict(said(world))}",
        )


@pytest.mark.timeout(180)
async def test_G4_L10_a_cluster_that_loses_the_boards_master_loses_nothing(
    tmp_path: Path, database: str, redis_key_prefix: str, report: Report
) -> None:
    async with (
        running_cluster(tmp_path / "redis", replicas=3) as redis,
        system(redis.url, database, redis_key_prefix, tmp_path) as world,
        loaded(world) as load,
    ):
        slot = await ask(redis.masters[0], "CLUSTER KEYSLOT", Keys(redis_key_prefix).log(world.board))
        owner = slot * len(redis.masters) // 16_384
        async with load.running():
            await load.flows()
            acknowledged = await ids(redis.masters[owner], world)
            await load.fault()
            await redis.masters[owner].kill()
            back = await load.back(BACK_SECONDS_MAX)
            gone = acknowledged - await ids(redis.replicas[owner], world)
            await redis.masters[owner].start()
            await load.flows()
        await load.lost_nothing(
            report,
            "a cluster loses a master",
            back,
            goal_seconds=GOAL_SECONDS,
            note=f"{len(gone)} logged entries gone; {dict(said(world))}",
        )
