"""The whole system and a real browser, one of each for the session; a board and people of its own for each test."""

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

import relay
from tests.e2e import chromium
from tests.e2e.agent import Agent
from tests.e2e.latencies import Latencies
from tests.e2e.tab import Board, People, new_board, people
from tests.services import Service, System, empty_database, system
from tests.stockclient import StockClient, StockClients

LATENCIES = pytest.StashKey[Latencies]()
FOLDER = Path(__file__).parent
CANVAS = Path(relay.__file__).parent / "canvas" / "index.html"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of this folder share the loop of the browser and the services."""
    for item in items:
        if FOLDER in item.path.parents and "asyncio" in item.keywords:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LATENCIES] = Latencies()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[LATENCIES].lines():
        terminalreporter.section("from one screen to another")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def latencies(pytestconfig: pytest.Config) -> Latencies:
    """Where measured times go; the end of the run prints them."""
    return pytestconfig.stash[LATENCIES]


@pytest.fixture(scope="session")
def program() -> str:
    """The browser's program. Without one, these tests are skipped; in CI they fail."""
    found = chromium.find()
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(chromium.MISSING)
    return found


@pytest.fixture(scope="session")
def canvas() -> None:
    if not CANVAS.is_file():
        pytest.fail("The canvas is not built: run `make canvas`.", pytrace=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(program: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=program, args=chromium.arguments())
        yield made
        await made.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world(
    program: str, canvas: None, redis_url: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    prefix = f"test-{secrets.token_hex(6)}:"
    async with (
        empty_database(database_url) as database,
        system(redis_url, database, prefix, tmp_path_factory.mktemp("logs")) as made,
    ):
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bridge(world: System) -> Service:
    return await world.start("bridge")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes(world: System, bridge: Service) -> list[Service]:
    """Two relays, with a worker behind them as always."""
    await world.start("persistence_worker")
    return await world.relays(2, BRIDGE_URL=bridge.url)


@pytest_asyncio.fixture(loop_scope="session")
async def board(world: System) -> Board:
    return await new_board(world, f"board-{secrets.token_hex(4)}")


@pytest_asyncio.fixture(loop_scope="session")
async def crowd(browser: Browser, board: Board) -> AsyncIterator[People]:
    """Where people come from. When the test is over, none of their tabs may have a complaint."""
    async with people(browser, [board.editor_key, board.viewer_key]) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def agent(nodes: list[Service], board: Board) -> AsyncIterator[Agent]:
    """An agent that knows nothing but a node's address, the board and its key."""
    async with aiohttp.ClientSession() as client:
        yield Agent(f"{nodes[0].url}/v1/boards/{board.id}", client, board.editor_key)


@pytest_asyncio.fixture(loop_scope="session")
async def stock(board: Board) -> AsyncIterator[Callable[[Service], Awaitable[StockClient]]]:
    """Joins the board at a node as an editor with a stock client, which writes whatever it is told to."""
    async with StockClients() as clients:

        async def join(node: Service) -> StockClient:
            client = await clients.open(node.ws, board.id, key=board.editor_key)
            await client.wait_synced()
            return client

        yield join
