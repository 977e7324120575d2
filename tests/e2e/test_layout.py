"""Our own parts leave tldraw's alone, on a desk and on a phone, in light and in dark."""

from itertools import product

import pytest
from playwright.async_api import expect

from tests.e2e.tab import DESKTOP, PHONE, Tab

OURS = (
    "connection-indicator", "presence-bar", "presence-avatar", "presence-overflow", "share-button", "profile-button",
    "read-only-badge", "skipped-notice",
)  # fmt: skip
VISIBLE_PARTS = """(ours) => {
    const seen = (element) => {
        const box = element.getBoundingClientRect()
        return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility !== 'hidden'
    }
    const described = (element) => {
        const { x, y, width, height } = element.getBoundingClientRect()
        const at = document.elementFromPoint(x + width / 2, y + height / 2)
        return {
            name: element.dataset.testid || element.getAttribute('aria-label') || element.textContent.slice(0, 30),
            box: { x, y, width, height },
            reachable: at !== null && (element.contains(at) || at.contains(element)),
        }
    }
    const isOurs = (element) => ours.some((id) => element.closest(`[data-testid="${id}"]`))
    const mine = ours.flatMap((id) => [...document.querySelectorAll(`[data-testid="${id}"]`)]).filter(seen)
    const theirs = [...document.querySelectorAll(
        '.tlui-layout button, .tlui-style-panel, .tlui-toolbar__inner, [class*="tl-watermark"]'
    )].filter((element) => seen(element) && !isOurs(element) && !mine.some((part) => element.contains(part)))
    return { mine: mine.map(described), theirs: theirs.map(described) }
}"""


async def test_no_part_of_ours_covers_one_of_tldraws(nodes, board, crowd, agent, stock) -> None:
    for number in range(3):
        await agent.post(type="sticky", x=0, y=0, content={"text": "Hi"}, created_by=f"a long-named agent {number}")
    stranger = await stock(nodes[0])
    await stranger.set("shape:teapot", {"id": "shape:teapot", "typeName": "shape", "type": "teapot"})
    for size, key in product((DESKTOP, PHONE), (board.editor_key, board.viewer_key)):
        ann = await crowd.arrive(size, is_mobile=size is PHONE, has_touch=size is PHONE)
        await ann.open(board.address(nodes[0].url, key))
        await expect(ann.part("presence-avatar").first).to_be_visible()
        await expect(ann.part("skipped-notice")).to_be_visible()
        await _expect_apart(ann, *size)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_is_as_bright_as_the_system(nodes, board, crowd, scheme) -> None:
    ann = await crowd.arrive(color_scheme=scheme)
    await ann.page.goto(nodes[0].url)
    await expect(ann.part("landing")).to_be_visible()
    assert await _is_dark(ann, "landing") == (scheme == "dark")
    await ann.open(board.address(nodes[0].url))
    await expect(ann.page.locator(f".tl-theme__{scheme}").first).to_be_visible()
    assert await _is_dark(ann, "connection-indicator") == (scheme == "dark")


async def _expect_apart(tab: Tab, width: int, height: int) -> None:
    found = await tab.page.evaluate(VISIBLE_PARTS, list(OURS))
    faults = []
    for part in found["mine"]:
        box = part["box"]
        if box["x"] < 0 or box["y"] < 0 or box["x"] + box["width"] > width or box["y"] + box["height"] > height:
            faults.append(f"{part['name']} leaves the screen: {box}")
        if not part["reachable"]:
            faults.append(f"{part['name']} is covered: {box}")
        faults += [
            f"{part['name']} {box} covers {other['name']} {other['box']}"
            for other in found["theirs"]
            if _overlap(box, other["box"])
        ]
    assert not faults, "\n".join(faults)


def _overlap(a: dict[str, float], b: dict[str, float], tolerance: float = 1.0) -> bool:
    return (
        a["x"] + a["width"] > b["x"] + tolerance
        and b["x"] + b["width"] > a["x"] + tolerance
        and a["y"] + a["height"] > b["y"] + tolerance
        and b["y"] + b["height"] > a["y"] + tolerance
    )


async def _is_dark(tab: Tab, test_id: str) -> bool:
    """Tell whether the ground on which a part stands is dark: its own, or the first one behind it."""
    color = await tab.part(test_id).evaluate("""(element) => {
        for (let behind = element; behind !== null; behind = behind.parentElement) {
            const color = getComputedStyle(behind).backgroundColor
            if (!/^rgba\\(.*, 0\\)$/.test(color)) return color
        }
        return 'rgb(255, 255, 255)'
    }""")
    red, green, blue = (float(value) for value in color[color.index("(") + 1 : -1].split(",")[:3])
    return red + green + blue < 3 * 127
