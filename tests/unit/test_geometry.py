"""Page coordinates and a shape's own."""

from math import pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.geometry import ANCESTORS_MAX, Point, local_point, page_point

PLACE = st.floats(-1e6, 1e6)


def shape(name: str, x: float, y: float, parent: str = "page:page", rotation: Any = 0) -> dict[str, Any]:
    return {
        "id": f"shape:{name}", "typeName": "shape", "type": "frame",
        "x": x, "y": y, "parentId": parent, "rotation": rotation,
    }  # fmt: skip


def board(*shapes: dict[str, Any]) -> dict[str, Any]:
    return {one["id"]: one for one in shapes}


def test_on_the_page_nothing_is_computed() -> None:
    note = shape("n", 0.1 + 0.2, -1e-12, rotation=1)
    assert page_point(board(note), note) == (0.1 + 0.2, -1e-12)
    assert local_point(board(note), note, Point(0.1 + 0.2, 5)) == (0.1 + 0.2, 5)


def test_dragged_into_a_frame() -> None:
    """The case of the canvas: a note at (100, 100) in a frame at (640, 100) becomes (-540, 0)."""
    note, frame = shape("n", -540, 0, "shape:f"), shape("f", 640, 100)
    assert page_point(board(note, frame), note) == (100, 100)
    assert local_point(board(note, frame), note, Point(100, 100)) == (-540, 0)


def test_a_quarter_turn() -> None:
    note, frame = shape("n", 10, 0, "shape:f"), shape("f", 100, 100, rotation=pi / 2)
    assert page_point(board(note, frame), note) == (100, 110)
    assert local_point(board(note, frame), note, Point(100, 110)) == (10, 0)


@given(st.lists(st.tuples(PLACE, PLACE, st.floats(-10, 10)), max_size=6), PLACE, PLACE)
def test_nested_turned_frames_there_and_back(frames: list[tuple[float, float, float]], x: float, y: float) -> None:
    chain = [shape(f"f{n}", *frame[:2], f"shape:f{n + 1}", frame[2]) for n, frame in enumerate(frames)]
    note = shape("n", x, y, "shape:f0")
    records = board(note, *chain)
    on_page = page_point(records, note)
    assert on_page is not None
    assert local_point(records, note, on_page) == pytest.approx((x, y), abs=1e-6)
    note |= dict(zip("xy", local_point(records, note, Point(5, -7)), strict=True))
    assert page_point(records, note) == pytest.approx((5, -7), abs=1e-6)


def test_a_missing_parent_counts_as_the_page() -> None:
    note = shape("n", 1, 2, "shape:gone")
    assert page_point(board(note), note) == (1, 2)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_cycle_ends_the_walk(size: int) -> None:
    ring = [shape(f"r{n}", 10, 0, f"shape:r{(n + 1) % size}") for n in range(size)]
    records = board(*ring)
    assert page_point(records, ring[0]) == (10 * size, 0)
    assert local_point(records, ring[0], Point(10 * size, 0)) == (10, 0)


def test_a_deep_chain_ends_somewhere() -> None:
    chain = [shape(f"c{n}", 1, 0, f"shape:c{n + 1}") for n in range(5000)]
    assert page_point(board(*chain), chain[0]) == (1 + ANCESTORS_MAX, 0)


@pytest.mark.parametrize("rotation", [None, "1", float("nan"), float("inf"), True])
def test_a_broken_rotation_is_none(rotation: Any) -> None:
    note, frame = shape("n", 1, 2, "shape:f"), shape("f", 10, 20, rotation=rotation)
    assert page_point(board(note, frame), note) == (11, 22)


def test_a_place_beyond_all_numbers_is_none() -> None:
    note, frame = shape("n", 1.7e308, 0, "shape:f"), shape("f", 1.7e308, 0)
    assert page_point(board(note, frame), note) is None
    assert local_point(board(note, shape("f", -1.7e308, 0)), note, Point(1.7e308, 0)) == (1.7e308, 0)
