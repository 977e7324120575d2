"""Plain text as rich text and back."""

from typing import Any

import pytest
from hypothesis import given

from bridge.richtext import (
    NODES_READ_MAX,
    TEXT_READ_CHARS_MAX,
    clean_line,
    clean_text,
    plain_text,
    rich_text,
    split_title,
)
from tests.itemstrategies import HOSTILE, TEXT


def text_nodes(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return []
    own = [node["text"]] if node["type"] == "text" else []
    return own + [text for child in node.get("content", []) for text in text_nodes(child)]


def paragraph(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(parts)}


def text(words: str, *marks: str) -> dict[str, Any]:
    return {"type": "text", "text": words, "marks": [{"type": mark} for mark in marks]}


def doc(*blocks: Any) -> dict[str, Any]:
    return {"type": "doc", "content": list(blocks)}


def test_each_line_is_a_paragraph() -> None:
    assert rich_text("a\n\nb") == doc(
        {"type": "paragraph", "content": [{"type": "text", "text": "a"}]},
        {"type": "paragraph"},
        {"type": "paragraph", "content": [{"type": "text", "text": "b"}]},
    )
    assert rich_text("") == doc({"type": "paragraph"})


@given(TEXT, TEXT)
def test_text_survives_and_no_node_is_empty(title: str, body: str) -> None:
    title, body = clean_line(title), clean_text(body)
    rich = rich_text(body, title)
    assert split_title(rich) == (title, body)
    assert "" not in text_nodes(rich)
    assert plain_text(rich_text(body)) == body


def test_cleaning() -> None:
    assert clean_text("a\r\nb\rc\x00\x1b[0m\td\x7f\u2028é") == "a\nb\nc[0m\td\u2028é"
    assert clean_line("a\r\nb\n") == "a b "


def test_what_people_format_is_read() -> None:
    item = {"type": "listItem", "content": [paragraph(text("one")), {"type": "bulletList", "content": [
        {"type": "listItem", "content": [paragraph(text("two", "bold"), text("!"))]}]}]}  # fmt: skip
    heading = {"type": "heading", "attrs": {"level": 1}, "content": [text("Title")]}
    rich = doc(
        heading, {"type": "bulletList", "content": [item]}, paragraph(text("a"), {"type": "hardBreak"}, text("b"))
    )
    assert plain_text(rich) == "Title\none\ntwo!\na\nb"
    assert (
        plain_text(doc({"type": "bulletList", "content": [{"type": "listItem", "content": [paragraph(text("x"))]}]}))
        == "x"
    )


def test_a_title_is_a_first_line_that_is_all_bold() -> None:
    assert split_title(doc(paragraph(text("a", "bold"), text("b", "italic", "bold")), paragraph(text("c")))) == (
        "ab",
        "c",
    )
    assert split_title(doc(paragraph(text("a", "bold"), text("b")), paragraph(text("c")))) == ("", "ab\nc")
    assert split_title(doc({"type": "paragraph"}, paragraph(text("c", "bold")))) == ("", "\nc")
    assert split_title(rich_text("", "only")) == ("only", "")


@given(HOSTILE)
def test_anything_can_be_read(rich: Any) -> None:
    assert isinstance(plain_text(rich), str)
    assert isinstance(plain_text(doc(rich, paragraph(rich))), str)
    split_title(doc(rich))


@pytest.mark.parametrize("depth", [32, 100_000])
def test_deep_text_is_read_without_recursion(depth: int) -> None:
    rich: dict[str, Any] = paragraph(text("deep"))
    for _ in range(depth):
        rich = {"type": "blockquote", "content": [rich]}
    assert plain_text(doc(rich)) == ("deep" if depth < NODES_READ_MAX else "")


def test_long_text_is_cut() -> None:
    assert len(plain_text(doc(paragraph(*[text("a" * 1000)] * 500)))) == TEXT_READ_CHARS_MAX
    assert plain_text(doc(*[paragraph()] * 50_000)).count("\n") < NODES_READ_MAX
