"""The two people of the specification, in tabs on different nodes: what one does is on the other's screen."""

from playwright.async_api import expect

SUBJECT = "two tabs on two nodes"
ROUNDS = 6


async def test_what_one_person_makes_moves_and_deletes_is_on_the_others_screen(nodes, board, crowd, latencies) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    for turn in range(ROUNDS):
        await ben.expect_screen(**{"is": "count", "count": 1})
        note = await ann.sticky(500, 350, f"Note {turn}")
        latencies.add(SUBJECT, "create", await ben.seen() - await ann.input_time("pointerdown"))
        await expect(ben.shape(note)).to_have_text(f"Note {turn}")
        assert await ben.box(note) == await ann.box(note)

        start = await ann.box(note)
        await ben.expect_screen(**{"is": "at", "id": note, "x": start.x + 120, "y": start.y + 60})
        await ann.drag(note, 120, 60)
        latencies.add(SUBJECT, "move", await ben.seen() - await ann.input_time("pointermove"))

        await ben.expect_screen(**{"is": "gone", "id": note})
        await ann.page.keyboard.press("Delete")
        latencies.add(SUBJECT, "delete", await ben.seen() - await ann.input_time("keydown"))
        await expect(ann.shapes()).to_have_count(0)


async def test_both_write_draw_and_connect_at_once_and_see_the_same(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    hers = await ann.sticky(300, 250, "Ann's")
    his = await ben.sticky(700, 250, "Ben's")
    await _draw(ann, "d", [(300, 500), (340, 560), (380, 500), (420, 560)])
    await _draw(ben, "r", [(650, 480), (800, 580)])
    await expect(ann.shape(his)).to_have_text("Ben's")
    await expect(ben.shape(hers)).to_have_text("Ann's")
    for tab in (ann, ben):
        await expect(tab.shapes("draw")).to_have_count(1)
        await expect(tab.shapes("geo")).to_have_count(1)
    await _draw(ann, "a", [(300, 250), (500, 260), (700, 250)])
    await expect(ben.shapes("arrow")).to_have_count(1)
    await ben.select(his)
    await ben.drag(his, 60, 120)
    await ben.page.keyboard.press("Escape")
    arrow = ben.shapes("arrow").locator("path").first
    await expect(ann.shapes("arrow").locator("path").first).to_have_attribute("d", await arrow.get_attribute("d") or "")


async def test_one_who_comes_later_finds_everything_where_it_was_put(nodes, board, crowd) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    first = await ann.sticky(300, 300, "First")
    second = await ann.sticky(620, 300, "Second")
    await ann.wait_state("saved")
    await ben.open(board.address(nodes[1].url))
    for note, text in ((first, "First"), (second, "Second")):
        await expect(ben.shape(note)).to_have_text(text)
        x, y = await ben.on_screen(*await _page_corner(ann, note))
        await ben.expect_at(note, x, y)


async def _draw(tab, tool: str, points: list[tuple[int, int]]) -> None:
    await tab.page.keyboard.press("Escape")
    await tab.page.keyboard.press(tool)
    await tab.page.mouse.move(*points[0])
    await tab.page.mouse.down()
    for point in points[1:]:
        await tab.page.mouse.move(*point, steps=4)
    await tab.page.mouse.up()
    await tab.page.keyboard.press("Escape")


async def _page_corner(tab, key: str) -> tuple[float, float]:
    """Return a shape's corner in the page's coordinates."""
    box, (left, top) = await tab.box(key), await tab.on_screen(0, 0)
    return box.x - left, box.y - top
