"""Bridges that die or fall silent in the middle of agents' writes."""

from tests.faults.load import under_load
from tests.faults.report import Report
from tests.services import System

KILLS = 3


async def test_G8_killed_and_stopped_bridges_keep_what_they_answered_and_halve_nothing(
    world: System, report: Report
) -> None:
    """The agents never pause, so each has a write under way when a bridge dies; they ask again, with the same id."""
    relays = await world.relays(2)
    bridge = await world.start("bridge")
    async with under_load(world, relays, [bridge], editors=4, viewers=2, agents=4, pause_seconds=0) as load:
        async with load.running():
            back = []
            for _ in range(KILLS):
                await load.flows()
                bridge.kill()
                await load.fault()
                bridge = await world.start("bridge")
                load.bridges.backends = [bridge.url]
                back += await load.agents_back(30)
        assert load.repeated
        await load.lost_nothing(report, f"SIGKILL of the bridge, {KILLS} times", back, goal_seconds=5)

        repeated = load.repeated
        async with load.running():
            await load.flows()
            other = await world.start("bridge", "other-bridge")
            load.bridges.backends = [other.url]
            bridge.pause()
            await load.fault()
            back = await load.agents_back(40)
            assert load.repeated > repeated
            bridge.resume()
            load.bridges.backends = [bridge.url]
            await load.bridges.cut()
            await load.flows()
        await load.lost_nothing(report, "SIGSTOP of a bridge, later SIGCONT", back, may_repeat=True)
