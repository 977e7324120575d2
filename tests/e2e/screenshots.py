"""Takes a picture of every state of the canvas, for eyes and for the README: `make screenshots`.

Not a test: it asserts nothing. It needs the built canvas and Chromium as the tests do.
"""

import asyncio
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import aiohttp
from playwright.async_api import Browser, async_playwright, expect

from boardctl.servers import running_postgres, running_valkey
from boardlog.access import new_key
from boardlog.grant import Role
from tests.balancer import RoundRobin
from tests.e2e import chromium
from tests.e2e.agent import Agent
from tests.e2e.planning_board import furnish
from tests.e2e.tab import DESKTOP, PHONE, Board, People, Tab, new_board
from tests.services import Service, System, empty_database, system
from tests.stockclient import StockClients

SIZES = {"desktop": DESKTOP, "phone": PHONE}
SCHEMES = ("light", "dark")
COLLEAGUES = (("Ann", 0.42, 0.42), ("Ben", 0.66, 0.58))
FUTURE = {"id": "shape:future", "typeName": "shape", "type": "kanban", "x": 0, "y": 0}


@dataclass
class Stage:
    """What the scenes play on."""

    node: Service
    deaf: Service
    """It serves pages and turns sockets away."""
    line: RoundRobin
    planning: Board
    newer: Board
    """It has a shape that only a canvas of the future knows."""
    empty: Board
    agent: Agent
    colleagues: list[Tab]

    async def gather_round(self) -> None:
        """Let the colleagues move and the agent write, so that all are seen to be there."""
        for tab, (_, x, y) in zip(self.colleagues, COLLEAGUES, strict=True):
            await tab.page.mouse.move(DESKTOP[0] * x, DESKTOP[1] * y, steps=4)
        finding = next(item for item in await self.agent.items() if item["type"] == "document")
        await self.agent.patch(f"shape:{finding['id']}", x=520 if finding["x"] > 520 else 521)


async def landing(stage: Stage, tab: Tab) -> None:
    await tab.page.goto(stage.node.url)
    await expect(tab.part("landing")).to_be_visible()


async def landing_with_recent_boards(stage: Stage, tab: Tab) -> None:
    for known in (stage.empty, stage.planning):
        await tab.open(known.address(stage.node.url))
    await landing(stage, tab)
    await expect(tab.part("recent-board")).to_have_count(2)


async def board(stage: Stage, tab: Tab) -> None:
    await _open_planning(stage, tab, stage.planning.address(stage.node.url))
    await stage.gather_round()


async def selected(stage: Stage, tab: Tab) -> None:
    await board(stage, tab)
    await tab.page.keyboard.press("Control+a")


async def read_only(stage: Stage, tab: Tab) -> None:
    await _open_planning(stage, tab, stage.planning.address(stage.node.url, stage.planning.viewer_key))
    await expect(tab.part("read-only-badge")).to_be_visible()


async def denied(stage: Stage, tab: Tab) -> None:
    await tab.page.goto(stage.planning.address(stage.node.url, new_key()))
    await expect(tab.part("board-error")).to_be_visible()


async def reconnecting(stage: Stage, tab: Tab) -> None:
    stage.line.backends = [stage.node.url]
    await _open_planning(stage, tab, stage.planning.address(stage.line.url.replace("ws:", "http:")))
    stage.line.backends = [stage.deaf.url]
    await stage.line.cut()
    await tab.wait_state("reconnecting", "offline")
    await tab.page.keyboard.press("r")
    width, height = await tab.page.evaluate("[innerWidth, innerHeight]")
    await tab.page.mouse.click(width * 0.8, height * 0.75)


async def skipped(stage: Stage, tab: Tab) -> None:
    await _open_planning(stage, tab, stage.newer.address(stage.node.url))
    await expect(tab.part("skipped-notice")).to_be_visible()


async def skipped_in_full(stage: Stage, tab: Tab) -> None:
    await skipped(stage, tab)
    await tab.part("skipped-notice").click()


async def empty(stage: Stage, tab: Tab) -> None:
    await tab.open(stage.empty.address(stage.node.url))


SCENES: tuple[Callable[[Stage, Tab], Awaitable[None]], ...] = (
    landing, landing_with_recent_boards, board, selected, read_only, denied, reconnecting, skipped,
    skipped_in_full, empty,
)  # fmt: skip


async def _open_planning(stage: Stage, tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.page.wait_for_selector(".tl-shape:visible")
    if await tab.page.evaluate("innerWidth") == DESKTOP[0]:
        await tab.page.keyboard.press("Shift+Digit1")  # all of it; on a phone that would be too small to read


async def take(stage: Stage, people: People, folder: Path) -> None:
    """Take every scene's picture at every size, in light and in dark."""
    for scene, (size, pixels), scheme in product(SCENES, SIZES.items(), SCHEMES):
        tab = await people.arrive(pixels, color_scheme=scheme, device_scale_factor=2)
        await scene(stage, tab)
        await tab.page.evaluate("document.fonts.ready")
        await tab.page.wait_for_timeout(700)  # zooming and fading in are over
        await tab.page.screenshot(path=folder / f"{scene.__name__.replace('_', '-')}-{size}-{scheme}.png")
        await tab.context.close()


@asynccontextmanager
async def stage_in(world: System, browser: Browser) -> AsyncIterator[Stage]:
    """Yield a furnished stage with two colleagues on it."""
    bridge = await world.start("bridge")
    [node] = await world.relays(1, BRIDGE_URL=bridge.url)
    deaf = await world.start("relay", "deaf", BRIDGE_URL=bridge.url, CONNECTIONS_MAX="0")
    planning, newer, empty_board = [await new_board(world, name) for name in ("sprint-12", "sprint-13", "ideas")]
    async with RoundRobin(node.url) as line, aiohttp.ClientSession() as client, StockClients() as clients:
        for furnished in (newer, planning):
            key = new_key()
            await world.stores.access.create_key(key, furnished.id, Role.EDITOR, "researcher")
            agent = Agent(f"{node.url}/v1/boards/{furnished.id}", client, key)
            await furnish(agent)
        stranger = await clients.open(node.ws, newer.id, key=newer.editor_key)
        await stranger.wait_synced()
        await stranger.set(FUTURE["id"], FUTURE)
        await stranger.destroy()
        colleagues = []
        people = People(browser)
        for name, _, _ in COLLEAGUES:
            tab = await (await people.arrive()).open(planning.address(node.url))
            await tab.rename(name)
            await tab.page.keyboard.press("Shift+Digit1")
            colleagues.append(tab)
        yield Stage(node, deaf, line, planning, newer, empty_board, agent, colleagues)


async def main(folder: Path) -> None:
    program = chromium.find()
    if program is None:
        sys.exit(chromium.MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        enter: Any = stack.enter_async_context
        servers = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="board-relay-pictures-")))
        servers.chmod(0o711)  # PostgreSQL does not run as root
        redis = await enter(running_valkey(servers / "valkey"))
        database = await enter(empty_database((await enter(running_postgres(servers / "postgres"))).url))
        world = await enter(system(redis.url, database, f"pictures-{secrets.token_hex(4)}:", servers))
        playwright = await enter(async_playwright())
        browser = await playwright.chromium.launch(executable_path=program, args=chromium.arguments())
        stage = await enter(stage_in(world, browser))
        await take(stage, People(browser), folder)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
