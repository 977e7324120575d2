"""Pictures that people drop go into the board's store, not into its document."""

import base64
import json

import pytest
from playwright.async_api import expect

from tests.e2e.tab import Tab
from tests.picturefiles import picture_file

PICTURE = picture_file(size=(160, 100))
TRANSFER = """([content, name, type]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))
    const transfer = new DataTransfer()
    transfer.items.add(new File([bytes], name, { type }))
    return transfer
}"""


@pytest.mark.parametrize("way", ["dropped", "chosen"])
async def test_a_picture_goes_to_the_store_and_to_the_others(nodes, board, crowd, agent, stock, way) -> None:
    ann, ben = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    await ben.open(board.address(nodes[1].url))
    await ben.expect_screen(**{"is": "picture", "width": 160})
    if way == "dropped":
        await _drop(ann, PICTURE, "sunset.png", "image/png")
    else:
        async with ann.page.expect_file_chooser() as chooser:
            await ann.page.get_by_test_id("tools.asset").click()
        await (await chooser.value).set_files({"name": "sunset.png", "mimeType": "image/png", "buffer": PICTURE})
    await ben.seen()
    await ann.wait_state("saved")

    stranger = await stock(nodes[1])
    records = await stranger.dump()
    assert "data:" not in json.dumps(records)
    [asset] = [record for record in records.values() if record.get("typeName") == "asset"]
    assert asset["props"]["src"].startswith(f"/v1/boards/{board.id}/assets/")
    assert (asset["props"]["w"], asset["props"]["h"], asset["props"]["mimeType"]) == (160, 100, "image/png")
    assert await agent.picture(asset["props"]["src"]) == (PICTURE, "image/png")

    image = await ben.shapes("image").get_attribute("data-shape-id")
    assert image is not None
    await ben.page.reload()
    await ben.expect_screen(**{"is": "picture", "width": 160})
    await ben.seen()


async def test_a_picture_that_cannot_be_stored_is_refused_with_a_sentence(nodes, board, crowd, stock) -> None:
    ann = await crowd.arrive()
    ann.expects(r"^console: Event$")  # tldraw's own word of a picture that the browser cannot read
    await ann.open(board.address(nodes[0].url))
    await _drop(ann, b"This is no picture.", "fake.png", "image/png")
    await expect(ann.page.locator(".tlui-toast__container")).to_be_visible()
    stranger = await stock(nodes[1])
    assert not [key for key in await stranger.dump() if key.startswith("asset:")]


async def _drop(tab: Tab, content: bytes, name: str, kind: str) -> None:
    transfer = await tab.page.evaluate_handle(TRANSFER, [base64.b64encode(content).decode(), name, kind])
    await tab.page.dispatch_event(
        ".tl-canvas", "drop", {"dataTransfer": transfer, "clientX": 600, "clientY": 350, "bubbles": True}
    )
