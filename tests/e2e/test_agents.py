"""What agents write over HTTP, on people's screens: where it stands, what it says, how it looks."""

import time

import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.tab import Tab, until
from tests.picturefiles import picture_file

PADDING_MAX = 40
"""What tldraw leaves below a note's text, and more."""
SUBJECT = "agent's request to a screen on another node"
TYPES = {
    "sticky": ("note", {"content": {"text": "Ship it"}, "style": {"color": "light-green", "font": "mono"}}),
    "text": ("text", {"content": {"text": "A heading"}, "style": {"color": "red", "size": "l", "font": "serif"}}),
    "shape": (
        "geo",
        {
            "content": {"text": "Go", "shape": "ellipse"},
            "width": 220,
            "height": 120,
            "style": {"color": "blue", "fill": "solid", "dash": "dashed", "opacity": 0.5},
        },
    ),
    "frame": ("frame", {"content": {"title": "Sprint 12"}, "width": 320, "height": 240}),
    "document": ("note", {"content": {"title": "Findings", "text": "One\nTwo"}, "style": {"color": "violet"}}),
}


@pytest_asyncio.fixture(loop_scope="session")
async def ann(nodes, board, crowd):
    """A person on another node than the agent's."""
    tab = await crowd.arrive()
    return await tab.open(board.address(nodes[1].url))


async def test_each_item_stands_where_the_agent_put_it(ann, agent, latencies) -> None:
    for number, (kind, (shape_type, fields)) in enumerate(TYPES.items()):
        x, y = 60 + 230 * number, 150 + 20 * number
        await ann.expect_screen(**{"is": "count", "count": number + 1})
        sent = time.time() * 1000
        item = await agent.post(type=kind, x=x, y=y, created_by="agent-7", **fields)
        latencies.add(SUBJECT, kind, await ann.seen() - sent)
        await expect(ann.shape(item)).to_have_attribute("data-shape-type", shape_type)
        await ann.expect_at(item, *await ann.on_screen(x, y))
        box = await ann.box(item)
        if "width" in fields:
            assert (round(box.width), round(box.height)) == (fields["width"], fields["height"])
        if kind == "frame":
            await expect(ann.shape(item)).to_contain_text(fields["content"]["title"])


async def test_a_sticky_and_a_document_look_as_asked(ann, agent) -> None:
    sticky = await agent.post(type="sticky", x=100, y=150, width=300, **TYPES["sticky"][1])
    document = await agent.post(type="document", x=500, y=150, **TYPES["document"][1])
    plain = await agent.post(type="sticky", x=800, y=150, content={"text": "Plain"})
    await expect(ann.shape(sticky)).to_have_text("Ship it")
    box = await ann.box(sticky)
    assert (box.width, box.height) == (300, 300), "a sticky of width 300 is one and a half times as large"
    await expect(ann.shape(sticky).locator("[data-font]")).to_have_attribute("data-font", "mono")
    await expect(ann.shape(document).locator("p")).to_have_text(["Findings", "One", "Two"])
    await expect(ann.shape(document).locator("strong")).to_have_text("Findings")
    papers = [
        await ann.style(ann.shape(note).locator(".tl-note__container"), "backgroundColor")
        for note in (sticky, document, plain)
    ]
    assert len(set(papers)) == 3, papers


async def test_a_text_looks_as_asked(ann, agent) -> None:
    red = await agent.post(type="text", x=100, y=100, **TYPES["text"][1])
    wrapped = await agent.post(type="text", x=100, y=300, width=160, content={"text": "Many words that need lines"})
    line = ann.shape(red).locator(".tl-text-label, .tl-text-wrapper").first
    await expect(ann.shape(red)).to_have_text("A heading")
    await expect(line).to_have_attribute("data-font", "serif")
    color = await ann.style(ann.shape(red).locator("p"), "color")
    assert color != await ann.style(ann.shape(wrapped).locator("p"), "color")
    narrow, one_line = await ann.box(wrapped), await ann.box(red)
    assert round(narrow.width) == 160
    assert narrow.height > one_line.height


async def test_a_shape_looks_as_asked(ann, agent) -> None:
    asked = await agent.post(type="shape", x=100, y=150, **TYPES["shape"][1])
    plain = await agent.post(type="shape", x=500, y=150, width=220, height=120, content={})
    await expect(ann.shape(asked)).to_have_text("Go")
    await expect(ann.shape(asked)).to_have_attribute("data-shape-is-filled", "true")
    await expect(ann.shape(plain)).to_have_attribute("data-shape-is-filled", "false")
    assert await ann.style(ann.shape(asked), "opacity") == "0.5"
    assert await ann.shape(asked).locator("path[stroke-dasharray], g[stroke-dasharray] path").count(), "not dashed"
    strokes = [await ann.style(ann.shape(key).locator("svg path").last, "stroke") for key in (asked, plain)]
    assert strokes[0] != strokes[1]


async def test_long_text_stays_inside_its_note_for_who_is_there_and_who_comes(nodes, board, crowd, ann, agent) -> None:
    note = await agent.post(
        type="document", x=200, y=120, style={"font": "sans", "size": "s"},
        content={"title": "Findings", "text": "A long finding of many words. " * 14},
    )  # fmt: skip
    await _expect_filled(ann, note)
    await _expect_filled(await (await crowd.arrive()).open(board.address(nodes[0].url)), note)


async def test_an_image_from_the_boards_store_is_shown(ann, agent, latencies) -> None:
    stored = await agent.upload("chart", picture_file(size=(120, 80)))
    sent = time.time() * 1000
    await ann.expect_screen(**{"is": "picture", "width": 120})
    image = await agent.post(type="image", x=300, y=200, content={"asset_id": stored["id"], "alt": "A chart"})
    latencies.add(SUBJECT, "image with its pixels", await ann.seen() - sent)
    await ann.expect_at(image, *await ann.on_screen(300, 200))
    box = await ann.box(image)
    assert (box.width, box.height) == (120, 80)


async def test_what_an_agent_changes_and_deletes_changes_and_goes(ann, agent) -> None:
    note = await agent.post(type="sticky", x=100, y=150, content={"text": "Before"})
    await expect(ann.shape(note)).to_have_text("Before")
    await agent.patch(note, x=400, content={"text": "After"})
    await expect(ann.shape(note)).to_have_text("After")
    await ann.expect_at(note, *await ann.on_screen(400, 150))
    await agent.delete(note)
    await expect(ann.shape(note)).to_have_count(0)


async def test_an_agent_reads_what_a_person_wrote(ann, agent) -> None:
    note = await ann.sticky(500, 350, "From a person")
    await ann.wait_state("saved")
    items = {f"shape:{item['id']}": item for item in await agent.items()}
    assert items[note]["content"]["text"] == "From a person"
    corner = await ann.on_screen(items[note]["x"], items[note]["y"])
    await ann.expect_at(note, *corner)


async def _expect_filled(tab: Tab, note: str) -> None:
    """Wait until the paper has grown around the words, and no further."""

    async def fits() -> bool:
        paper = await tab.box(tab.shape(note).locator(".tl-note__container"))
        words = await tab.box(tab.shape(note).locator(".tl-rich-text"))
        rest = paper.y + paper.height - (words.y + words.height)
        return paper.height > paper.width and -1 <= rest <= PADDING_MAX

    await tab.shape(note).wait_for()
    await until(fits, "the note has grown around its text")
