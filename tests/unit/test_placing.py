"""Where a new shape goes."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.placing import index_above, integer_part, page_for_new
from tests.itemstrategies import hostile_maps

DOCUMENT = {"id": "document:document", "typeName": "document", "gridSize": 10, "name": "", "meta": {}}


def page(name: str, index: Any) -> dict[str, Any]:
    return {"id": f"page:{name}", "typeName": "page", "name": name, "index": index, "meta": {}}


def shapes(*indexes: Any, parent: str = "page:page") -> dict[str, Any]:
    named = {f"shape:s{number}": index for number, index in enumerate(indexes)}
    return {key: {"id": key, "typeName": "shape", "index": index, "parentId": parent} for key, index in named.items()}


def test_a_fresh_board_gets_what_the_canvas_would_make() -> None:
    page_id, missing = page_for_new({})
    assert page_id == "page:page"
    assert missing == {
        "document:document": DOCUMENT,
        "page:page": {"id": "page:page", "typeName": "page", "name": "Page 1", "index": "a1", "meta": {}},
    }
    assert page_for_new(missing) == ("page:page", {})


def test_only_what_is_missing_is_made() -> None:
    assert page_for_new({"page:page": page("page", "a1")}) == ("page:page", {"document:document": DOCUMENT})
    assert list(page_for_new({"document:document": DOCUMENT})[1]) == ["page:page"]
    assert list(page_for_new({"document:document": DOCUMENT, "page:page": "broken"})[1]) == ["page:page"]


def test_items_go_to_the_canvas_own_page_or_else_the_first() -> None:
    pages = {
        "document:document": DOCUMENT,
        "page:b": page("b", "a2"),
        "page:a": page("a", "a3"),
        "page:c": page("c", 5),
    }
    assert page_for_new(pages | {"page:page": page("page", "a9")}) == ("page:page", {})
    pages["page:c"]["index"] = "a4"
    assert page_for_new(pages) == ("page:b", {})


@given(
    st.lists(
        st.sampled_from(["a0", "a1", "a1V", "a1V0", "a00", "Zz", "b00", "a9zzz", "a9~", "Yzz", "", "a", "é", 5, None])
    )
)
def test_a_new_index_is_above_all_valid_ones(indexes: list[Any]) -> None:
    elsewhere = {**shapes("xzz" + "z" * 25)["shape:s0"], "id": "shape:other", "parentId": "page:b"}
    index = index_above(shapes(*indexes) | {"shape:other": elsewhere}, "page:page", Random(1).getrandbits)
    assert all(index > other for other in indexes if integer_part(other))
    assert not index.endswith("0")
    assert len(index) <= 6


def test_two_writers_at_once_choose_different_indexes() -> None:
    bits = Random(1).getrandbits
    chosen = [index_above({}, "page:page", bits) for _ in range(100)]
    assert len(set(chosen)) == 100
    assert index_above({}, "page:page", lambda _: 0) == "a0001"
    assert index_above(shapes("a5"), "page:page", lambda _: 2**32 - 1).startswith("a6")


@pytest.mark.parametrize("index", ["z" * 5000, "y" * 27, "A" * 28, "b1", "a", "é1", "a-", ""])
def test_an_index_out_of_reach_is_not_minded(index: str) -> None:
    assert index_above(shapes("a1", index), "page:page", lambda _: 0) == "a2001"


def test_a_long_index_is_minded() -> None:
    assert index_above(shapes("a1" + "V" * 5000), "page:page", lambda _: 0) == "a2001"


@settings(max_examples=40, deadline=None)
@given(hostile_maps())
def test_any_map_has_a_place(records: dict[str, Any]) -> None:
    page_id, missing = page_for_new(records)
    assert page_id in records or page_id in missing
    assert integer_part(index_above(records, page_id, lambda _: 7))
