"""Hex colours and the canvas's names."""

import pytest

from bridge.palette import COLORS, nearest_color


@pytest.mark.parametrize(
    ("hex_color", "name"),
    [
        ("#000000", "black"), ("#fff", "white"), ("#FF0000", "red"), ("#0000ff", "blue"), ("#008000", "green"),
        ("#ffa500", "yellow"), ("#ff6600", "orange"), ("#999", "grey"),
        ("#800080", "violet"), ("#4ba1f1", "light-blue"),
        ("#ee82ee", "light-violet"), ("#ff8080", "light-red"),
    ],
)  # fmt: skip
def test_lines_take_the_nearest_solid_colour(hex_color: str, name: str) -> None:
    assert nearest_color(hex_color, paper=False) == name


@pytest.mark.parametrize(
    ("hex_color", "name"),
    [
        ("#ffeb3b", "black"),  # the classic yellow note
        ("#ffffff", "white"), ("#ff0000", "red"), ("#90caf9", "light-blue"), ("#a5d6a7", "light-green"),
        ("#cccccc", "grey"),
    ],
)  # fmt: skip
def test_notes_take_the_nearest_paper(hex_color: str, name: str) -> None:
    assert nearest_color(hex_color, paper=True) == name


def test_there_are_the_canvas_colours() -> None:
    assert len(COLORS) == 13
