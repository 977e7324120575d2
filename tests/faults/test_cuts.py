"""The cables between relays and Valkey: cut, silent, deaf in one direction, slow, under load."""

import asyncio

import pytest

from tests.cable import Cable
from tests.faults.load import under_load
from tests.faults.report import Report
from tests.services import System

SILENT_GOAL_SECONDS = 20
"""A tail gives a silent connection up after 15 s and looks every 5 s; an append waits 5 s for each answer."""
SLOW_SECONDS = 0.3


@pytest.mark.timeout(180)
async def test_L3_L4_L10_a_relay_that_is_cut_off_from_valkey_loses_nothing(world: System, report: Report) -> None:
    async with Cable(world.redis_url) as cable:
        behind = await world.start("relay", "behind-the-cable", REDIS_URL=cable.url)
        other, bridge = await asyncio.gather(world.start("relay", "other"), world.start("bridge"))
        async with under_load(world, [behind, other], [bridge], editors=6, viewers=4) as load:
            async with load.running():
                await load.flows()
                await cable.cut()
                await load.fault()
                back = await load.back(30)
            await load.lost_nothing(report, "relay to Valkey: cut", back, goal_seconds=5)

            async with load.running():
                await load.flows()
                cable.silence()
                await load.fault()
                await asyncio.sleep(1)
                cable.mend()
                back = await load.back(60)
            await load.lost_nothing(report, "relay to Valkey: silent", back, goal_seconds=SILENT_GOAL_SECONDS)
            assert [one for one in back if one.closes] == []

            async with load.running():
                await load.flows()
                cable.swallows_answers = True
                await load.fault()
                await asyncio.sleep(1)
                cable.mend()
                back = await load.back(60)
            await load.lost_nothing(report, "relay to Valkey: no answers", back, goal_seconds=SILENT_GOAL_SECONDS)
            assert [one for one in back if one.closes] == []

            async with load.running():
                cable.chunk_seconds = SLOW_SECONDS
                await load.flows()
                await load.fault()
                back = await load.back(60)
                cable.mend()
            await load.lost_nothing(report, f"relay to Valkey: {SLOW_SECONDS:g} s late", back)
