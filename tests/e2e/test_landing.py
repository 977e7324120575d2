"""The door: a link, a key, or a board opened before; by mouse or by keyboard alone."""

from urllib.parse import urldefrag

from playwright.async_api import expect

from tests.e2e.tab import CONNECTED, Tab


async def test_a_shared_link_opens_the_board_for_another(nodes, board, crowd) -> None:
    ann = await crowd.arrive(permissions=["clipboard-read", "clipboard-write"])
    await ann.open(board.address(nodes[0].url))
    note = await ann.sticky(500, 350, "Come in")
    await ann.wait_state("saved")
    await ann.part("share-button").click()
    await expect(ann.page.get_by_text("Link copied", exact=True)).to_be_visible()
    link = await ann.page.evaluate("navigator.clipboard.readText()")
    assert link == board.address(nodes[0].url)

    ben = await crowd.arrive()
    await ben.page.goto(nodes[1].url)
    await ben.part("board-input").fill(link)
    await ben.part("open-button").click()
    await ben.wait_state(*CONNECTED)
    await expect(ben.shape(note)).to_have_text("Come in")


async def test_the_keyboard_alone_opens_a_board_and_the_browser_remembers_it(nodes, board, crowd) -> None:
    ann = await crowd.arrive()
    await ann.page.goto(nodes[0].url)
    await expect(ann.part("landing")).to_be_visible()
    await expect(ann.part("recent-board")).to_have_count(0)
    await _tab_to(ann, "board-input")
    await ann.page.keyboard.type(board.id)
    await _tab_to(ann, "key-input")
    await ann.page.keyboard.type(board.editor_key)
    await ann.page.keyboard.press("Enter")
    await ann.wait_state(*CONNECTED)
    assert urldefrag(ann.page.url).url == f"{nodes[0].url}/boards/{board.id}"

    await ann.page.goto(nodes[0].url)
    await expect(ann.part("recent-board")).to_contain_text(board.id)
    await _tab_to(ann, "recent-board")
    await ann.page.keyboard.press("Enter")
    await ann.wait_state(*CONNECTED)


async def test_back_and_forward_lead_to_the_landing_page_and_to_the_board(nodes, board, crowd) -> None:
    ann = await crowd.arrive()
    await ann.page.goto(nodes[0].url)
    await ann.part("board-input").fill(board.address(nodes[0].url))
    await ann.part("open-button").click()
    await ann.wait_state(*CONNECTED)
    await ann.page.go_back()
    await expect(ann.part("landing")).to_be_visible()
    await ann.page.go_forward()
    await ann.wait_state(*CONNECTED)


async def _tab_to(tab: Tab, test_id: str) -> None:
    """Press Tab until the element (or something in it) has the focus."""
    for _ in range(20):
        if await tab.page.evaluate("id => !!document.activeElement?.closest(`[data-testid=${id}]`)", test_id):
            return
        await tab.page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {test_id}.")
