"""Undo is one's own: it takes back what oneself did, and nothing of what others did since."""

from playwright.async_api import expect


async def test_undo_keeps_what_another_did_to_the_same_shape(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    note = await ann.sticky(400, 350, "Ours")
    await expect(ben.shape(note)).to_have_text("Ours")
    plain = await _paper(ann, note)

    await ann.select(note)
    await ann.page.get_by_test_id("style.color.red").click()
    await expect(_note(ben, note)).not_to_have_css("background-color", plain)
    await ben.page.keyboard.press("Escape")
    await ben.drag(note, 150, 80)
    there = await ben.box(note)
    await ann.expect_at(note, there.x, there.y)

    await ann.page.mouse.click(200, 650)
    await ann.page.keyboard.press("Control+z")  # the click above unselected, which is a step of its own
    await ann.page.keyboard.press("Control+z")
    for tab in (ann, ben):
        await expect(_note(tab, note)).to_have_css("background-color", plain)
        await tab.expect_at(note, there.x, there.y)
        await expect(tab.shape(note)).to_have_text("Ours")


async def test_undo_and_redo_of_ones_own_reach_the_other(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    hers = await ann.sticky(400, 350, "Hers")
    his = await ben.sticky(800, 350, "His")
    await expect(ann.shape(his)).to_have_text("His")
    await ann.select(hers)
    await ann.page.keyboard.press("Delete")
    await expect(ben.shape(hers)).to_have_count(0)
    await ann.page.keyboard.press("Control+z")
    await expect(ben.shape(hers)).to_have_text("Hers")
    await ann.page.keyboard.press("Control+Shift+Z")
    await expect(ben.shape(hers)).to_have_count(0)
    await expect(ann.shape(his)).to_have_text("His")


def _note(tab, key: str):
    return tab.shape(key).locator(".tl-note__container")


async def _paper(tab, key: str) -> str:
    return await tab.style(_note(tab, key), "backgroundColor")
