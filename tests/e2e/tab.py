"""A person's tab: real Chromium, driven by mouse and keyboard, read off the screen."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, WebSocket, expect

from boardlog.access import new_key
from boardlog.grant import Role
from boardlog.ids import BoardId
from tests.services import System

WAIT_SECONDS_MAX = 20.0
"""How long a condition may take on a busy machine before the test fails, unless the test says otherwise."""
DESKTOP = (1280, 800)
PHONE = (375, 700)
CONNECTED = ("connected", "saved")
SCREEN_WATCH = (Path(__file__).parent / "screen.js").read_text()

expect.set_options(timeout=WAIT_SECONDS_MAX * 1000)


@dataclass(frozen=True, slots=True)
class Board:
    """A board and its two keys."""

    id: BoardId
    editor_key: str
    viewer_key: str

    def address(self, node: str, key: str | None = None) -> str:
        """Return what a person opens at the node `http://…`, with the editor's key unless another is given."""
        return f"{node}/boards/{self.id}#key={key or self.editor_key}"


async def new_board(world: System, name: str) -> Board:
    """Create a board with an editor's and a viewer's key."""
    made = Board(BoardId(name), new_key(), new_key())
    await world.stores.snapshots.create(made.id)
    for role, key in ((Role.EDITOR, made.editor_key), (Role.VIEWER, made.viewer_key)):
        await world.stores.access.create_key(key, made.id, role, role)
    return made


@dataclass(frozen=True, slots=True)
class Box:
    """Where something stands on the screen, in CSS pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


class Tab:
    """One page of one person. Whatever the page complains of, or asks of another host, fails the test at its end."""

    def __init__(self, page: Page, context: BrowserContext) -> None:
        self.page = page
        self.context = context
        self.complaints: list[str] = []
        """Errors on the console and errors that nothing caught."""
        self.addresses: list[str] = []
        """Every address asked for, by any means."""
        self._expected: list[re.Pattern[str]] = []
        page.set_default_timeout(WAIT_SECONDS_MAX * 1000)
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", self._note_request)
        page.on("websocket", self._note_socket)

    def expects(self, *patterns: str) -> None:
        """Let complaints pass that match, because the test provokes them."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    def verdict(self, keys: Sequence[str]) -> list[str]:
        """Return what a person would be right to complain of: errors, strangers asked, keys in addresses."""
        faults = [text for text in self.complaints if not any(known.search(text) for known in self._expected)]
        for address in self.addresses:
            parts = urlsplit(address)
            if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
                faults.append(f"asked another host: {address}")
            if parts.scheme not in ("ws", "wss") and any(key in address.partition("#")[0] for key in keys):
                faults.append(f"a key in an address: {address}")
        return faults

    async def open(self, address: str, states: Sequence[str] = CONNECTED) -> "Tab":
        """Go to a board and wait until its connection is in one of the states and its shapes are drawn."""
        await self.page.goto(address)
        await self.wait_state(*states)
        await self.page.wait_for_selector(".tl-canvas")
        return self

    # What stands on the screen.

    def part(self, test_id: str) -> Locator:
        return self.page.get_by_test_id(test_id)

    def shape(self, key: str) -> Locator:
        return self.page.locator(f'[data-shape-id="{key}"]')

    def shapes(self, kind: str | None = None) -> Locator:
        return self.page.locator(".tl-shape" if kind is None else f'.tl-shape[data-shape-type="{kind}"]')

    async def shape_keys(self) -> set[str]:
        return set(await self.shapes().evaluate_all("shapes => shapes.map(shape => shape.dataset.shapeId)"))

    async def box(self, what: Locator | str) -> Box:
        """Return where a shape (by its key) or any element stands."""
        locator = self.shape(what) if isinstance(what, str) else what
        return Box(
            **await locator.evaluate(
                "e => { const {x, y, width, height} = e.getBoundingClientRect(); return {x, y, width, height} }"
            )
        )

    async def style(self, element: Locator, name: str) -> str:
        return str(await element.evaluate("(element, name) => getComputedStyle(element)[name]", name))

    async def on_screen(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point of the page stands on the screen now."""
        left, top = await self.page.locator(".tl-shapes").evaluate(
            """(layer, [x, y]) => {
                const canvas = document.querySelector('.tl-canvas').getBoundingClientRect()
                const at = new DOMMatrix(getComputedStyle(layer).transform).transformPoint({ x, y })
                return [at.x + canvas.x, at.y + canvas.y]
            }""",
            [x, y],
        )
        return left, top

    async def expect_at(self, key: str, x: float, y: float, tolerance: float = 1.0) -> None:
        """Wait until a shape's upper left corner stands at that point of the screen."""

        async def is_there() -> bool:
            if not await self.shape(key).count():
                return False
            box = await self.box(key)
            return abs(box.x - x) <= tolerance and abs(box.y - y) <= tolerance

        await until(is_there, f"{key} at ({x}, {y})")

    async def wait_state(self, *states: str) -> str:
        """Wait until the connection's indicator shows one of the states and return it."""
        options = ", ".join(f'[data-testid="connection-indicator"][data-state="{state}"]' for state in states)
        found = await self.page.wait_for_selector(options, state="attached")
        return str(await found.get_attribute("data-state"))

    async def states(self) -> list[str]:
        """Return every state that the indicator has shown since the page was opened, oldest first."""
        return list(await self.page.evaluate("screenWatch.states"))

    # What a person does.

    async def begin_sticky(self, x: float, y: float) -> str:
        """Put a sticky note around a point of the screen and return its key; what is typed next is written on it."""
        await self.page.keyboard.press("n")
        await self.page.mouse.click(x, y)
        made = await self.page.wait_for_selector('.tl-shape[data-shape-type="note"]:has(.ProseMirror-focused)')
        # It has the focus a moment before its caret is placed: a robot's first letter would come in between.
        await self.page.wait_for_function(
            "element => element.querySelector('.ProseMirror').editor.isInitialized", arg=made
        )
        return str(await made.get_attribute("data-shape-id"))

    async def sticky(self, x: float, y: float, text: str = "") -> str:
        """Put a sticky note around a point of the screen, write on it, and return its key."""
        key = await self.begin_sticky(x, y)
        await self.page.keyboard.type(text)
        await self.page.keyboard.press("Escape")
        return key

    async def select(self, key: str) -> None:
        """Click a shape with the selection tool, not where it was just made: that would be a double click."""
        await self.page.keyboard.press("Escape")
        await self.page.keyboard.press("v")
        box = await self.box(key)
        await self.page.mouse.click(box.x + box.width / 5, box.y + box.height / 5)

    async def drag(self, key: str, by_x: float, by_y: float, steps: int = 6) -> None:
        """Drag a shape by its middle."""
        x, y = (await self.box(key)).center
        await self.page.mouse.move(x, y)
        await self.page.mouse.down()
        await self.page.mouse.move(x + by_x, y + by_y, steps=steps)
        await self.page.mouse.up()

    async def rename(self, name: str) -> None:
        """Give oneself a name, as the others see it."""
        await self.part("profile-button").click()
        await self.page.get_by_role("textbox", name="Your name").fill(name)
        await self.page.keyboard.press("Escape")

    # When something is seen, in milliseconds since 1970.

    async def expect_screen(self, **condition: Any) -> None:
        """Begin to look out for a condition of screen.js; `seen` tells of the first frame in which it holds."""
        await self.page.evaluate("condition => screenWatch.expect(condition)", condition)

    async def seen(self) -> float:
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            return float(await self.page.evaluate("screenWatch.seen()"))

    async def input_time(self, kind: str) -> float:
        """Return when the last `pointerdown`, `pointermove`, `pointerup` or `keydown` happened here."""
        return float(await self.page.evaluate("kind => screenWatch.inputs[kind]", kind))

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def _note_request(self, request: Request) -> None:
        self.addresses.append(request.url)

    def _note_socket(self, socket: WebSocket) -> None:
        self.addresses.append(socket.url)


class People:
    """Opens tabs, each of a person of their own: no storage, cache or channel is shared."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.tabs: list[Tab] = []

    async def arrive(self, size: tuple[int, int] = DESKTOP, **options: Any) -> Tab:
        """Return a new person's empty tab; options are those of a browser context."""
        width, height = size
        context = await self._browser.new_context(viewport={"width": width, "height": height}, **options)
        await context.add_init_script(SCREEN_WATCH)
        tab = Tab(await context.new_page(), context)
        self.tabs.append(tab)
        return tab

    async def leave(self) -> None:
        for tab in self.tabs:
            await tab.context.close()


@asynccontextmanager
async def people(browser: Browser, keys: Sequence[str]) -> AsyncIterator[People]:
    """Yield the door for people; at the end their tabs have nothing to complain of."""
    made = People(browser)
    try:
        yield made
        faults = [fault for tab in made.tabs for fault in tab.verdict(keys)]
        assert not faults, "\n".join(faults)
    finally:
        await made.leave()


async def until(condition: Any, what: str, seconds_max: float = WAIT_SECONDS_MAX) -> Any:
    """Ask an async condition again and again until it holds; return what it gave."""
    try:
        async with asyncio.timeout(seconds_max):
            while not (found := await condition()):
                await asyncio.sleep(0.02)
            return found
    except TimeoutError:
        raise AssertionError(f"It never came: {what}.") from None
