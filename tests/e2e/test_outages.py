"""Nodes that die and networks that go: people write on, and nothing of it is lost."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Dialog, expect

from tests.balancer import RoundRobin
from tests.e2e.tab import until
from tests.services import Service, System

LOST_CONNECTION = (r"WebSocket connection to .* failed", r"net::ERR_", r"Failed to load resource")
WORDS = [f"word{number}" for number in range(9)]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deaf(world: System, bridge: Service) -> Service:
    """A node that serves pages and turns every socket away (1013)."""
    return await world.start("relay", "deaf", BRIDGE_URL=bridge.url, CONNECTIONS_MAX="0")


class Line:
    """One address for a tab, whose sockets can be cut while its pages can still be loaded."""

    def __init__(self, balancer: RoundRobin, node: Service, deaf: Service) -> None:
        self.address = balancer.url.replace("ws:", "http:")
        self._balancer = balancer
        self._node = node
        self._deaf = deaf

    async def cut(self) -> None:
        self._balancer.backends = [self._deaf.url]
        await self._balancer.cut()

    def mend(self) -> None:
        self._balancer.backends = [self._node.url]


@pytest_asyncio.fixture(loop_scope="session")
async def line(nodes: list[Service], deaf: Service) -> AsyncIterator[Line]:
    async with RoundRobin(nodes[0].url) as balancer:
        yield Line(balancer, nodes[0], deaf)


async def test_a_node_is_killed_while_both_write(world, bridge, board, crowd, stock) -> None:
    doomed, other = await world.relays(2, BRIDGE_URL=bridge.url)
    async with RoundRobin(doomed.url) as balancer:
        address = board.address(balancer.url.replace("ws:", "http:"))
        ann, ben = await crowd.arrive(), await crowd.arrive()
        ann.expects(*LOST_CONNECTION)
        await ann.open(address)
        balancer.backends = [other.url]
        await ben.open(address)
        balancer.backends = [doomed.url, other.url]
        hers, his = await ann.begin_sticky(350, 300), await ben.begin_sticky(700, 300)
        for number, word in enumerate(WORDS):
            if number == len(WORDS) // 3:
                await expect(ben.shape(hers)).to_contain_text(WORDS[0])
                doomed.kill()
            await asyncio.gather(ann.page.keyboard.type(f"{word} "), ben.page.keyboard.type(f"{word} "))
        await ann.page.keyboard.press("Escape")
        await ben.page.keyboard.press("Escape")
        for tab in (ann, ben):
            for note in (hers, his):
                await expect(tab.shape(note)).to_have_text(" ".join(WORDS))
            await tab.wait_state("saved")
        shown = await ann.states()
        assert "reconnecting" in shown, shown
        assert "reconnecting" not in await ben.states(), "the other node's people notice nothing"
        late = await stock(other)
        for note in (hers, his):
            assert WORDS[-1] in str((await late.get(note))["props"]["richText"])


async def test_what_was_done_without_a_connection_survives_a_reload_and_merges(nodes, line, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    ann.expects(*LOST_CONNECTION)
    ann.page.on("dialog", Dialog.accept)
    await ann.open(board.address(line.address))
    await ben.open(board.address(nodes[1].url))
    before = await ann.sticky(250, 250, "Before")
    await ann.wait_state("saved")
    await expect(ben.shape(before)).to_have_text("Before")

    await line.cut()
    await ann.wait_state("reconnecting", "offline")
    during = await ann.sticky(550, 250, "During")
    await expect(ann.part("connection-indicator")).to_have_text(re.compile(r"[1-9]\d* unsent"))
    meanwhile = await ben.sticky(850, 250, "Meanwhile")
    assert during not in await ben.shape_keys()

    await ann.page.reload()
    await expect(ann.shape(before)).to_have_text("Before")
    await expect(ann.shape(during)).to_have_text("During")
    await expect(ann.part("connection-indicator")).to_have_text(re.compile(r"[1-9]\d* unsent"))
    assert meanwhile not in await ann.shape_keys()

    line.mend()
    await ann.wait_state("saved")
    await expect(ann.shape(meanwhile)).to_have_text("Meanwhile")
    await expect(ben.shape(during)).to_have_text("During")


async def test_leaving_asks_only_while_something_is_unsaved(line, board, crowd) -> None:
    ann = await crowd.arrive()
    ann.expects(*LOST_CONNECTION)
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    ann.page.on("dialog", stay)
    await ann.open(board.address(line.address))
    await line.cut()
    await ann.wait_state("reconnecting", "offline")
    await ann.sticky(400, 300, "Unsaved")
    await ann.page.close(run_before_unload=True)
    await until(lambda: _is(bool(asked)), "the question whether to leave")
    assert asked == ["beforeunload"]
    assert not ann.page.is_closed()

    line.mend()
    await ann.wait_state("saved")
    await ann.page.close(run_before_unload=True)
    await until(lambda: _is(ann.page.is_closed()), "the tab closes without a question")
    assert asked == ["beforeunload"]


async def test_a_network_that_is_away_is_told_and_comes_back(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    ann.expects(*LOST_CONNECTION)
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    await ann.context.set_offline(True)
    await ann.wait_state("offline")
    note = await ann.sticky(400, 300, "In the tunnel")
    await ann.context.set_offline(False)
    await ann.wait_state("saved")
    await expect(ben.shape(note)).to_have_text("In the tunnel")


async def test_a_node_that_leaves_hands_its_people_to_another(world, bridge, board, crowd) -> None:
    leaving, other = await world.relays(2, BRIDGE_URL=bridge.url, DRAIN_SECONDS="0.5")
    async with RoundRobin(leaving.url) as balancer:
        ann = await crowd.arrive()
        ann.expects(*LOST_CONNECTION)
        await ann.open(board.address(balancer.url.replace("ws:", "http:")))
        here = await ann.sticky(300, 300, "Here")
        await ann.wait_state("saved")
        balancer.backends = [other.url]
        await leaving.terminate()
        there = await ann.sticky(600, 300, "There")
        ben = await (await crowd.arrive()).open(board.address(other.url))
        await expect(ben.shape(here)).to_have_text("Here")
        await expect(ben.shape(there)).to_have_text("There")
        await ann.wait_state("saved")


async def _is(fact: bool) -> bool:
    return fact
