"""Relays that die, fall silent, or are cut off from their browsers, under load."""

import asyncio

import pytest

from tests.cable import Cable
from tests.faults.load import under_load
from tests.faults.report import Report
from tests.services import System

DEATH_GOAL_SECONDS = 5
SILENCE_GOAL_SECONDS = 40
"""Stock clients give up a connection on which they have heard nothing for 30 s; they look every 3 s."""


async def test_G1_G2_killed_relays_lose_nothing(world: System, report: Report) -> None:
    relays = await world.relays(3)
    bridge = await world.start("bridge")
    back = []
    async with under_load(world, relays, [bridge], editors=9, viewers=3) as load:
        async with load.running():
            for relay in relays[:2]:
                await load.flows()
                await load.fault()
                relay.kill()
                back += await load.back(seconds_max=15)
        await load.lost_nothing(report, "SIGKILL of a relay, twice", back, goal_seconds=DEATH_GOAL_SECONDS)


@pytest.mark.timeout(180)
async def test_G2_a_stopped_relay_and_a_silent_cut_lose_nothing_and_do_no_harm_later(
    world: System, report: Report
) -> None:
    """Both at once, on a board each, because both take a stock client half a minute to notice."""
    stopped, *others = relays = await world.relays(3)
    bridge = await world.start("bridge")
    cut_off = await world.another_board("cut-off")
    async with (
        Cable(others[0].url) as cable,
        under_load(world, relays, [bridge], editors=8, viewers=2) as on_stopped,
        under_load(cut_off, [cable, others[1]], editors=5, viewers=1) as on_cable,
    ):
        async with on_stopped.running(), on_cable.running():
            await asyncio.gather(on_stopped.flows(), on_cable.flows())
            # What accepts connections and never answers, a health check takes out.
            on_stopped.relays.backends.remove(stopped.url)
            on_cable.relays.backends.remove(cable.url)
            stopped.pause()
            cable.silence()
            await asyncio.gather(on_stopped.fault(), on_cable.fault())
            after_stop, after_cut = await asyncio.gather(on_stopped.back(90), on_cable.back(90))
            cable.mend()
            # It now reads what its clients said before they gave it up, and appends it after what they said since.
            stopped.resume()
            on_stopped.relays.backends = [stopped.url]
            await asyncio.gather(on_stopped.flows(), on_cable.flows())
        await on_stopped.lost_nothing(
            report, "SIGSTOP of a relay, later SIGCONT", after_stop, goal_seconds=SILENCE_GOAL_SECONDS
        )
        await on_cable.lost_nothing(
            report, "silent cut, browsers to relay", after_cut, goal_seconds=SILENCE_GOAL_SECONDS
        )
