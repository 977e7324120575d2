"""Records that nobody should write: the others on the board are shown, and people can go on."""

import copy
from typing import Any

import pytest
from playwright.async_api import expect

PAGE = {"id": "page:page", "typeName": "page", "name": "Page 1", "index": "a1", "meta": {}}
NOTE: dict[str, Any] = {
    "typeName": "shape", "type": "note", "x": 0, "y": 0, "rotation": 0, "index": "a1", "parentId": "page:page",
    "isLocked": False, "opacity": 1, "meta": {},
    "props": {
        "color": "yellow", "labelColor": "black", "size": "m", "font": "draw", "fontSizeAdjustment": 0,
        "align": "middle", "verticalAlign": "middle", "growY": 0, "url": "", "scale": 1,
        "richText": {"type": "doc", "content": [{"type": "paragraph"}]},
    },
}  # fmt: skip


def note(key: str, props: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    made = copy.deepcopy(NOTE) | {"id": key} | fields
    if isinstance(made["props"], dict):
        made["props"] |= props or {}
    return made


def says(*texts: str) -> dict[str, Any]:
    return {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": t} for t in texts]}]}


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(depth):
        inner = {"type": "blockquote", "content": [inner]}
    return {"type": "doc", "content": [inner]}


HOSTILE: dict[str, Any] = {
    "shape:number": 42,
    "shape:text": "<script>alert(1)</script>",
    "shape:list": [1, 2],
    "shape:nothing": None,
    "shape:bare": {"id": "shape:bare"},
    "shape:typeless": note("shape:typeless", type="teapot"),
    "shape:elsewhere": note("shape:another"),
    "shape:no-props": note("shape:no-props", props=None) | {"props": None},
    "shape:far": note("shape:far", x=1e308, y=-1e308),
    "shape:words-for-numbers": note("shape:words-for-numbers", x="left", rotation=[]),
    "shape:odd-index": note("shape:odd-index", index="!!"),
    "shape:odd-color": note("shape:odd-color", {"color": "#123456"}),
    "shape:huge": note("shape:huge", {"scale": 1e12, "growY": 1e12}),
    "shape:script-link": note("shape:script-link", {"url": "javascript:alert(1)"}),
    "shape:empty-text": note("shape:empty-text", {"richText": says("")}),
    "shape:no-text": note("shape:no-text", {"richText": None}),
    "shape:unknown-nodes": note("shape:unknown-nodes", {"richText": {"type": "doc", "content": [{"type": "bomb"}]}}),
    "shape:deep-text": note("shape:deep-text", {"richText": nested(12)}),
    "shape:own-parent": note("shape:own-parent", parentId="shape:own-parent"),
    "shape:cycle-a": note("shape:cycle-a", type="group", props={}, parentId="shape:cycle-b") | {"props": {}},
    "shape:cycle-b": note("shape:cycle-b", type="group", props={}, parentId="shape:cycle-a") | {"props": {}},
    "shape:orphan": note("shape:orphan", parentId="shape:never-came"),
    "shape:lost-page": note("shape:lost-page", parentId="page:never-came"),
    "shape:childless-group": note("shape:childless-group", type="group") | {"props": {}},
    "shape:pictureless": note("shape:pictureless", type="image") | {"props": {
        "w": 100, "h": 100, "playing": True, "url": "", "assetId": "asset:never-came", "crop": None, "flipX": False,
        "flipY": False, "altText": "",
    }},
    "asset:script": {"id": "asset:script", "typeName": "asset", "type": "image", "meta": {}, "props": {
        "w": 1, "h": 1, "name": "x", "isAnimated": False, "mimeType": "image/png", "src": "javascript:alert(1)",
    }},
    "binding:dangling": {"id": "binding:dangling", "typeName": "binding", "type": "arrow", "fromId": "shape:gone",
                         "toId": "shape:good-0", "meta": {}, "props": {"terminal": "start", "isExact": False,
                         "isPrecise": False, "normalizedAnchor": {"x": 0.5, "y": 0.5}}},
    "page:odd": {"id": "page:odd", "typeName": "page", "name": 7, "index": None, "meta": "none"},
    "document:document": {"id": "document:document", "typeName": "document", "gridSize": "ten"},
    "camera:page:page": {"id": "camera:page:page", "typeName": "camera", "x": 9e9, "y": 9e9, "z": 0, "meta": {}},
    "instance:instance": {"id": "instance:instance", "typeName": "instance", "isReadonly": True, "meta": {}},
    "pointer:pointer": {"id": "pointer:pointer", "typeName": "pointer", "x": 1, "y": 1, "meta": {}},
    "": {"id": "", "typeName": ""},
    "no such kind:1": {"id": "no such kind:1", "typeName": "no such kind"},
}  # fmt: skip


@pytest.mark.parametrize("order", ["live", "on joining"])
async def test_neighbours_are_shown_and_people_go_on(nodes, board, crowd, stock, order) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    addresses = board.address(nodes[0].url), board.address(nodes[1].url)
    if order == "live":
        await ann.open(addresses[0])
        await ben.open(addresses[1])
    stranger = await stock(nodes[0])
    await stranger.set(
        "page:page", {"id": "page:page", "typeName": "page", "name": "Page 1", "index": "a1", "meta": {}}
    )
    await stranger.set("shape:good-0", note("shape:good-0", {"richText": says("First")}, x=150, y=150))
    for key, record in HOSTILE.items():
        await stranger.set(key, record)
    await stranger.set("shape:good-1", note("shape:good-1", {"richText": says("Last")}, x=450, y=150, index="a2"))
    if order == "on joining":
        await ann.open(addresses[0])
        await ben.open(addresses[1])

    for tab in (ann, ben):
        await expect(tab.shape("shape:good-0")).to_have_text("First")
        await expect(tab.shape("shape:good-1")).to_have_text("Last")
        await expect(tab.part("skipped-notice")).to_be_visible()
    made = await ann.sticky(800, 500, "We go on")
    await expect(ben.shape(made)).to_have_text("We go on")
    await ben.drag(made, 0, -60)
    there = await ben.box(made)
    await ann.expect_at(made, there.x, there.y)
    await ann.wait_state("saved")


async def test_what_was_skipped_is_not_taken_from_the_board(nodes, board, crowd, stock) -> None:
    """An older canvas must not destroy what a newer one wrote."""
    stranger = await stock(nodes[0])
    await stranger.set("shape:typeless", HOSTILE["shape:typeless"])
    ann = await (await crowd.arrive()).open(board.address(nodes[1].url))
    await expect(ann.part("skipped-notice")).to_be_visible()
    made = await ann.sticky(500, 400, "Here")
    await ann.wait_state("saved")
    await stranger.wait_key(made)
    assert (await stranger.get("shape:typeless"))["type"] == "teapot"


async def test_a_child_that_comes_before_its_parent_is_shown_with_it(nodes, board, crowd, stock) -> None:
    ann = await (await crowd.arrive()).open(board.address(nodes[1].url))
    stranger = await stock(nodes[0])
    await stranger.set("page:page", PAGE)
    child = note("shape:child", {"richText": says("Inside")}, x=40, y=60, parentId="shape:frame")
    await stranger.set("shape:child", child)
    await stranger.set("shape:other", note("shape:other", {"richText": says("Beside")}, x=600, y=100))
    await expect(ann.shape("shape:other")).to_have_text("Beside")
    assert "shape:child" not in await ann.shape_keys()
    frame = note("shape:frame", x=200, y=100, type="frame") | {
        "props": {"w": 320, "h": 300, "name": "Plan", "color": "black"}
    }
    await stranger.set("shape:frame", frame)
    await expect(ann.shape("shape:child")).to_have_text("Inside")
    await ann.expect_at("shape:child", *await ann.on_screen(240, 160))
    await expect(ann.part("skipped-notice")).to_have_count(0)
