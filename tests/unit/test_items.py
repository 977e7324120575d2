"""What an agent may write, and what it is told where it may not."""

from typing import Any

import pytest
from hypothesis import given

from bridge.errors import InvalidItem
from bridge.items import (
    CONTENT_BYTES_MAX,
    CONTENT_DEPTH_MAX,
    COORDINATE_MAX,
    DATA_URL_CHARS_MAX,
    ERRORS_MAX,
    EXTENT_MAX,
    TEXT_CHARS_MAX,
    URL_CHARS_MAX,
    content_of,
    parse_item,
    patched,
    style_of,
)
from bridge.jsonvalue import merge_patch
from tests.itemstrategies import HOSTILE, items

STICKY: dict[str, Any] = {"type": "sticky", "x": 100, "y": 200, "content": {"text": "From an agent"}}
IMAGE: dict[str, Any] = {"type": "image", "x": 0, "y": 0, "content": {"url": "https://example.org/a.png"}}


def refused(data: Any) -> dict[str, str]:
    """Return what an agent is told: field -> message."""
    with pytest.raises(InvalidItem) as caught:
        parse_item(data)
    return dict(caught.value.errors)


def nested(levels: int) -> Any:
    value: Any = "leaf"
    for _ in range(levels):
        value = [value]
    return value


def test_the_specs_example_is_an_item() -> None:
    item = parse_item(STICKY)
    assert (item.type, item.x, item.y, content_of(item), style_of(item)) == (
        "sticky", 100, 200, {"text": "From an agent"}, None,
    )  # fmt: skip


@given(items())
def test_content_and_style_are_kept_as_given(data: dict[str, Any]) -> None:
    item = parse_item(data)
    assert content_of(item) == data["content"]
    assert style_of(item) == data.get("style")


@given(HOSTILE)
def test_anything_else_is_an_error_and_not_a_crash(data: Any) -> None:
    assert refused(data)
    assert refused({**STICKY, "content": data if not isinstance(data, dict) else {**data, "text": 1}})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"x": float("nan")}, "x"),
        ({"x": float("inf")}, "x"),
        ({"x": True}, "x"),
        ({"x": "1"}, "x"),
        ({"x": COORDINATE_MAX + 1}, "x"),
        ({"y": -COORDINATE_MAX - 0.5}, "y"),
        ({"x": 10**400}, "x"),
        ({"width": 0}, "width"),
        ({"height": EXTENT_MAX + 1}, "height"),
        ({"type": "arrow"}, "type"),
        ({"type": None}, "type"),
        ({"type": ["sticky"]}, "type"),
        ({"id": "a/b"}, "id"),
        ({"id": ""}, "id"),
        ({"id": "a" * 65}, "id"),
        ({"id": "a\n"}, "id"),
        ({"created_by": "a" * 201}, "created_by"),
        ({"created_by": ""}, "created_by"),
        ({"created_by": "\ud800"}, "created_by"),
        ({"content": None}, "content"),
        ({"content": "text"}, "content"),
        ({"content": {}}, "content.text"),
        ({"content": {"text": 5}}, "content.text"),
        ({"content": {"text": "a" * (TEXT_CHARS_MAX + 1)}}, "content.text"),
        ({"content": {"text": "half \ud83d"}}, "content.text"),
        ({"content": {"text": "", "more": {"deep": ["\udfff"]}}}, "content.more.deep.0"),
        ({"content": {"text": "", "more": float("nan")}}, "content.more"),
        ({"content": {"text": "", "more": 2**53}}, "content.more"),
        ({"content": {"text": "", "__proto__": {}}}, "content"),
        ({"content": {"text": "", "more": "é" * (CONTENT_BYTES_MAX // 2)}}, "content"),
        ({"style": "red"}, "style"),
        ({"style": {"color": "crimson"}}, "style.color"),
        ({"style": {"color": "#12345"}}, "style.color"),
        ({"style": {"colour": "red"}}, "style.colour"),
        ({"style": {"fill": "full"}}, "style.fill"),
        ({"style": {"align": "left"}}, "style.align"),
        ({"style": {"opacity": 1.1}}, "style.opacity"),
        ({"style": {"opacity": float("nan")}}, "style.opacity"),
        ({"rotation": 1}, "rotation"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    assert list(refused({**STICKY, **change})) == [field]


@pytest.mark.parametrize("name", ["x", "y", "type", "content"])
def test_a_missing_field_is_named(name: str) -> None:
    told = refused({key: value for key, value in STICKY.items() if key != name})
    assert list(told) == [name]
    assert "required" in told[name]


def test_messages_help() -> None:
    assert "sticky, text, shape, frame, image, document" in refused({**STICKY, "type": "note"})["type"]
    assert "light-blue" in refused({**STICKY, "style": {"color": "sky"}})["style.color"]
    assert "'pattern'" in refused({**STICKY, "style": {"fill": "x"}})["style.fill"]
    assert refused([]) == {"item": "An item is a JSON object."}
    assert refused({**STICKY, "content": []}) == {"content": "This is a JSON object."}


def test_all_wrong_fields_are_told_at_once_but_not_without_end() -> None:
    assert set(refused({**STICKY, "x": None, "y": None, "width": -1})) == {"x", "y", "width"}
    assert len(refused({**STICKY, **{f"field{number}": 1 for number in range(500)}})) == ERRORS_MAX
    assert max(map(len, refused({**STICKY, "a" * 5000: 1}))) <= 200


def test_content_may_be_as_deep_as_the_limit() -> None:
    def content(levels: int) -> dict[str, Any]:
        return {"text": "", "more": nested(levels - 1)}

    parse_item({**STICKY, "content": content(CONTENT_DEPTH_MAX)})
    assert "16 levels" not in str(refused({**STICKY, "content": {}}))
    [(field, message)] = refused({**STICKY, "content": content(CONTENT_DEPTH_MAX + 1)}).items()
    assert field.startswith("content.more.0.")
    assert "levels deep" in message
    refused({**STICKY, "content": content(100_000)})


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.png", "HTTPS://example.org", "https://example.org:8443/?q=1#f", "https://127.0.0.1/a",
        "/assets/a.png", "./a.png", "/", "data:image/png;base64,AA==", "data:image/svg+xml,<svg width='1'/>",
    ],
)  # fmt: skip
def test_image_addresses_that_browsers_show(url: str) -> None:
    assert content_of(parse_item({**IMAGE, "content": {"url": url}})) == {"url": url}


@pytest.mark.parametrize(
    "url",
    [
        "", "a.png", "../a.png", "http://example.org/a.png", "javascript:alert(1)", "JavaScript:alert(1)", "blob:https://a/b",
        "java\nscript:alert(1)", " https://example.org", "https://exa mple.org", "https://", "https://[::", "https://a:99999",
        "https://1.2.3.999/", "//example.org/a.png", "/\\example.org/a.png", "./\t/a", "https:example.org", "file:///etc/passwd",
        "data:text/html,<script>alert(1)</script>", "data:image/png;base64,\n", "asset:abc", "https://example.org/\x00",
        "https://example.org/" + "a" * URL_CHARS_MAX, "data:image/png;base64," + "A" * DATA_URL_CHARS_MAX,
    ],
)  # fmt: skip
def test_image_addresses_that_are_refused(url: str) -> None:
    assert list(refused({**IMAGE, "content": {"url": url}})) == ["content.url"]


def test_an_image_has_one_source_and_a_frame_a_title() -> None:
    assert list(refused({**IMAGE, "content": {}})) == ["content"]
    assert list(refused({**IMAGE, "content": {"url": "/a", "asset_id": "a"}})) == ["content"]
    assert list(refused({"type": "frame", "x": 0, "y": 0, "content": {}})) == ["content"]
    assert list(refused({"type": "shape", "x": 0, "y": 0, "content": {"shape": "blob"}})) == ["content.shape"]


def test_nulls_are_as_if_not_given() -> None:
    item = parse_item({**STICKY, "id": None, "width": None, "style": {"color": None, "size": "s"}, "created_by": None})
    assert (item.id, item.width, item.created_by) == (None, None, None)
    assert style_of(item) == {"size": "s"}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the examples of RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


SEEN = {"id": "i1", "created_by": "agent", "width": 200, "height": 200, "style": {"color": "red"}, **STICKY}


def patch_refused(seen: dict[str, Any], patch: Any) -> list[str]:
    with pytest.raises(InvalidItem) as caught:
        patched(seen, patch)
    return [error.field for error in caught.value.errors]


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"id": "i2"}, "id"),
        ({"id": None}, "id"),
        ({"type": "text"}, "type"),
        ({"created_by": "me"}, "created_by"),
        ({"created_by": None}, "created_by"),
        ({"x": None}, "x"),
        ({"x": 1e7}, "x"),
        ({"content": None}, "content"),
        ({"content": {"text": None}}, "content.text"),
        ({"content": {"text": "\ud800"}}, "content.text"),
        ({"content": "text"}, "content"),
        ({"content": {"more": nested(20)}}, "content.more" + ".0" * 15),
        ({"content": {"more": "a" * CONTENT_BYTES_MAX}}, "content"),
        ({"style": {"color": "crimson"}}, "style.color"),
        ({"parent": "shape:a"}, "parent"),
        ([], "item"),
        ("x", "item"),
    ],
)
def test_a_wrong_patch_is_refused(patch: Any, field: str) -> None:
    assert patch_refused(SEEN, patch) == [field]


def test_a_patch_may_repeat_what_cannot_change() -> None:
    assert patched(SEEN, dict(SEEN)) == SEEN
    assert patched(SEEN, {"id": "i1", "type": "sticky", "x": 1}) == {**SEEN, "x": 1}


def test_a_patch_is_not_blamed_for_what_it_leaves_alone() -> None:
    """A person may have written more, moved further and styled stranger than an agent may."""
    seen = {**SEEN, "x": 5e6, "content": {"text": "a" * 50_000, "more": nested(25)}, "style": {"align": "end-legacy"}}
    assert patched(seen, {"y": 3, "style": {"color": "red"}})["y"] == 3
    assert patch_refused(seen, {"x": 6e6, "style": {"align": "start-legacy"}}) == ["x", "style.align"]


def test_what_only_people_make_can_be_moved_only() -> None:
    seen = {"id": "a", "type": "other", "x": 1, "y": 2, "content": {"type": "arrow"}, "style": {"color": "red"}}
    assert patched(seen, {"x": 3}) == {**seen, "x": 3}
    assert patched(seen, {"type": "other", "content": {"type": "arrow"}}) == seen
    assert patch_refused(seen, {"x": None}) == ["x"]
    assert patch_refused(seen, {"x": 1e9}) == ["x"]
    assert patch_refused(seen, {"style": {"color": "blue"}, "width": 3}) == ["style", "width"]


def test_a_frames_title_goes_by_the_name_that_the_patch_uses() -> None:
    seen = {"id": "f", "type": "frame", "x": 1, "y": 2, "content": {"title": "old"}}
    assert patched(seen, {"content": {"text": "new"}})["content"] == {"text": "new"}
    assert patched({**seen, "content": {"text": "old"}}, {"content": {"title": "new"}})["content"]["title"] == "new"
