"""Bridges that die or fall silent in the middle of agents' writes."""

import pytest

from tests.faults.load import under_load
from tests.faults.report import Report
from tests.services import System

KILLS = 3


@pytest.mark.timeout(180)
async def test_G8_killed_and_stopped_bridges_keep_what_they_answered_and_halve_nothing(
    world: System, report: Report
) -> None:
    """The agents never pause, so each has a write under way when a bridge dies; they ask again, with the same id."""
    relays = await world.relays(2)
    bridges = [await world.start("bridge", f"bridge-{number}") for number in range(2)]
    async with under_load(world, relays, bridges, editors=4, viewers=2, agents=4, pause_seconds=0) as load:
        async with load.running():
            back = []
            for number in range(KILLS):
                await load.flows()
                bridges.pop(0).kill()
                await load.fault()
                back += await load.agents_back(30)
                bridges.append(await world.start("bridge", f"another-bridge-{number}"))
                load.bridges.backends = [bridge.url for bridge in bridges]
        assert load.repeated
        await load.lost_nothing(report, f"SIGKILL of a bridge, {KILLS} times", back, goal_seconds=5)

        repeated = load.repeated
        stopped, other = bridges
        async with load.running():
            await load.flows()
            load.bridges.backends = [other.url]  # a health check takes the silent one out
            stopped.pause()
            await load.fault()
            back = await load.agents_back(40)
            assert load.repeated > repeated
            stopped.resume()
            load.bridges.backends = [stopped.url]
            await load.bridges.cut()
            await load.flows()
        await load.lost_nothing(report, "SIGSTOP of a bridge, later SIGCONT", back, may_repeat=True)
