"""Who may do what: viewers look on, and whoever may not enter is told what to do."""

import pytest
from playwright.async_api import expect

from boardlog.access import hash_key, new_key
from boardlog.grant import Role
from boardlog.ids import BoardId


async def test_a_viewer_sees_everything_live_and_changes_nothing(nodes, board, crowd) -> None:
    ann, eve = await crowd.arrive(), await crowd.arrive()
    await ann.open(board.address(nodes[0].url))
    first = await ann.sticky(500, 300, "Look")
    await eve.open(board.address(nodes[1].url, board.viewer_key))
    await expect(eve.part("read-only-badge")).to_be_visible()
    await expect(ann.part("read-only-badge")).to_have_count(0)
    await expect(eve.shape(first)).to_have_text("Look")

    await eve.page.keyboard.press("n")
    await eve.page.mouse.click(200, 500)
    await eve.page.mouse.dblclick(200, 400)
    await eve.page.keyboard.type("No")
    start = await eve.box(first)
    await eve.drag(first, 100, 0)
    await eve.page.keyboard.press("Delete")
    second = await ann.sticky(800, 300, "Live")
    await expect(eve.shape(second)).to_have_text("Live")
    assert await eve.shape_keys() == {first, second}
    assert await ann.shape_keys() == {first, second}
    assert (await ann.box(first)).x == start.x
    await expect(eve.part("connection-indicator")).not_to_have_attribute("data-state", "denied")


@pytest.mark.parametrize("case", ["revoked", "unknown", "of another board", "no such board"])
async def test_who_may_not_enter_is_told_what_to_do(world, nodes, board, crowd, case) -> None:
    ann = await crowd.arrive()
    address = board.address(nodes[0].url)
    if case == "revoked":
        await ann.open(address)
        await ann.sticky(400, 300, "While it lasted")
        await ann.wait_state("saved")
        assert await world.stores.access.revoke(hash_key(board.editor_key)) == 1
    elif case == "unknown":
        address = board.address(nodes[0].url, new_key())
    elif case == "of another board":
        elsewhere, key = BoardId(f"{board.id}-b"), new_key()
        await world.stores.snapshots.create(elsewhere)
        await world.stores.access.create_key(key, elsewhere, Role.EDITOR, "elsewhere")
        address = board.address(nodes[0].url, key)
    else:
        key = new_key()
        await world.stores.access.create_key(key, "*", Role.VIEWER, "all")
        address = f"{nodes[0].url}/boards/no-such-board#key={key}"
    await ann.page.goto(address)
    await ann.page.reload()
    error = ann.part("board-error")
    await expect(error).to_be_visible()
    told = (await error.inner_text()).lower()
    assert ("board" if case == "no such board" else "key") in told
    assert "ask" in told or "check" in told, told
    await expect(error.get_by_role("link").or_(error.get_by_role("button")).first).to_be_visible()


async def test_a_board_without_a_key_asks_for_one(nodes, board, crowd) -> None:
    ann = await crowd.arrive()
    await ann.page.goto(f"{nodes[0].url}/boards/{board.id}")
    key = ann.part("key-input")
    await expect(key).to_be_visible()
    await key.fill(board.editor_key)
    await key.press("Enter")
    await ann.wait_state("connected", "saved")
