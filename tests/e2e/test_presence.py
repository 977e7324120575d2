"""Who else is there: names, cursors and avatars of people and agents, and that they go when their owners go."""

import pytest
from playwright.async_api import Error, expect

from tests.e2e.tab import Tab, until

NAMETAG = ".tl-collaborator__cursor .tl-nametag"


async def test_two_people_and_an_agent_see_each_other(nodes, board, crowd, agent) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    await ann.rename("Ann")
    await ben.rename("Ben")
    await ann.page.mouse.move(500, 300)
    await ben.page.mouse.move(700, 400)
    await _expect_cursor(ben, "Ann", 500, 300)
    await _expect_cursor(ann, "Ben", 700, 400)
    for tab, other in ((ann, "Ben"), (ben, "Ann")):
        await expect(_avatar(tab, other)).to_have_attribute("data-type", "human")

    note = await agent.post(type="sticky", x=300, y=250, content={"text": "Mine"}, created_by="planner")
    for tab in (ann, ben):
        await expect(_avatar(tab, "planner")).to_have_attribute("data-type", "agent")
        await _expect_cursor(tab, "planner", *await tab.on_screen(300, 250))
        await expect(tab.shape(note)).to_have_text("Mine")


async def test_a_cursor_follows_its_owner(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    await ann.rename("Ann")
    for x, y in ((400, 300), (600, 500), (450, 350)):
        await ann.page.mouse.move(x, y, steps=3)
        await _expect_cursor(ben, "Ann", x, y)


async def test_a_selection_is_outlined_for_the_others(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    note = await ann.sticky(500, 350)
    await ann.select(note)
    await expect(ben.page.locator(".tl-collaborator__shape-indicator")).to_have_count(1)
    await ann.page.keyboard.press("Escape")
    await expect(ben.page.locator(".tl-collaborator__shape-indicator")).to_have_count(0)


@pytest.mark.parametrize("end", ["closed", "crashed"])
async def test_a_tab_that_is_gone_takes_its_cursor_with_it(nodes, board, crowd, end) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    await ann.rename("Ann")
    await ann.page.mouse.move(500, 300)
    await _expect_cursor(ben, "Ann", 500, 300)
    if end == "closed":
        await ann.page.close()
    else:
        with pytest.raises(Error):
            await ann.page.goto("chrome://crash")
    await expect(ben.page.locator(NAMETAG)).to_have_count(0)
    await expect(ben.part("presence-avatar").and_(ben.page.get_by_title("Ann", exact=True))).to_have_count(0)


async def test_a_name_is_remembered(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    await ann.rename("Ann")
    await expect(_avatar(ben, "Ann")).to_be_visible()
    await ann.page.reload()
    await ann.wait_state("connected", "saved")
    await expect(_avatar(ben, "Ann")).to_have_count(1)


async def test_presence_that_a_stranger_made_up_harms_nobody(nodes, board, crowd, stock) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    stranger = await stock(nodes[0])
    for state in (
        {"user": "a string"},
        {"user": {"name": {"deep": []}, "color": "url(javascript:alert(1))", "type": "robot"}, "cursor": "here"},
        {"user": {"name": "x" * 5000}, "cursor": {"x": "a", "y": None}, "selection": {"a": 1}, "canvas": [1]},
        {"user": {"name": "Mad"}, "cursor": {"x": 1e308, "y": -1e308}, "selection": ["shape:none"] * 50},
        {"canvas": {"page": "page:none", "brush": {"x": 1}, "scribbles": [{"points": "no"}], "screen": {"w": -1}}},
        {},
    ):
        await stranger.set_awareness(state)
        note = await ann.sticky(500, 350, "Still here")
        await expect(ben.shape(note)).to_have_text("Still here")
        await ann.page.keyboard.press("Delete")
        await expect(ben.shape(note)).to_have_count(0)


def _avatar(tab: Tab, name: str):
    return tab.page.locator(f'[data-testid="presence-avatar"][title="{name}"]')


async def _expect_cursor(tab: Tab, name: str, x: float, y: float) -> None:
    """Wait until the cursor with that name tag stands at a point of the screen."""
    cursor = tab.page.locator(".tl-collaborator__cursor").filter(has_text=name)

    async def is_there() -> bool:
        if await cursor.count() != 1:
            return False
        box = await tab.box(cursor)
        return abs(box.x - x) <= 2 and abs(box.y - y) <= 2

    await until(is_there, f"{name}'s cursor at ({x}, {y})")
