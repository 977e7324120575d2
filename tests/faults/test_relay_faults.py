"""Relays that die or fall silent under load."""

from tests.faults.load import under_load
from tests.faults.report import Report
from tests.services import System


async def test_G1_G2_a_killed_relay_loses_nothing(world: System, report: Report) -> None:
    relays = await world.relays(3)
    bridge = await world.start("bridge")
    async with under_load(world, relays, [bridge], editors=9, viewers=3) as load:
        async with load.running():
            await load.flows()
            await load.fault()
            relays[0].kill()
            back = await load.back(seconds_max=15)
        await load.lost_nothing(report, "SIGKILL of a relay", back, goal_seconds=5)
