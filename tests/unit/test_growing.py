"""A live document that follows a log: it ends up as a fold does, whatever order the log is in (G3, G6)."""

import random
import subprocess
import sys
from itertools import permutations
from typing import Any

import pytest
from pycrdt import Doc, Map
from test_merge import author, clocks, real_session, view

from boardlog.errors import InvalidUpdate
from boardlog.growing import Growing, is_dear
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, Folded, fold
from boardlog.update import validate
from tests import bombs

EMPTY = Folded(EMPTY_UPDATE, EMPTY_STATE_VECTOR, [])


@pytest.mark.parametrize("edits", [[("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", None)], [(k, k) for k in "abcde"]])
def test_one_authors_updates_in_every_order(edits: list[tuple[str, Any]]) -> None:
    expected, updates = author(edits)
    for order in permutations(updates):
        doc: Doc[Any] = Doc()
        growing = Growing(doc, EMPTY)
        for update in order:
            growing.take(update)
        assert view(doc.get_update()) == view(expected.get_update())


@pytest.mark.parametrize("seed", range(10))
def test_G3_it_grows_to_what_a_fold_comes_to_from_wherever_it_began(seed: int) -> None:
    rng = random.Random(seed)
    updates, _ = real_session(rng)
    order = rng.sample(updates, len(updates)) + rng.sample(updates, len(updates) // 3)
    begun = rng.randrange(len(order))
    doc: Doc[Any] = Doc()
    growing = Growing(doc, fold(EMPTY_UPDATE, order[:begun]))
    for update in order[begun:]:
        growing.take(update)
    folded = fold(EMPTY_UPDATE, order)
    assert view(doc.get_update()) == view(folded.state)
    assert clocks(doc.get_state()) == clocks(folded.state_vector)


def test_what_is_written_in_the_document_itself_is_no_gap() -> None:
    doc: Doc[Any] = Doc(client_id=3)
    growing = Growing(doc, EMPTY)
    records = doc.get("m", type=Map)
    records["a"] = 1
    other: Doc[Any] = Doc(client_id=4)
    other.apply_update(doc.get_update())
    other.get("m", type=Map)["a"] = 2
    growing.take(other.get_update(doc.get_state()))
    assert records["a"] == 2


CONTRADICTING = [
    "01010704000200",
    "01010901270106746c64726177016c0100",
    "0104070500010001880706037e7e7e880907017e00",
    "01020901040101740161270106746c64726177016b0100",
    "01030900880704037e7e7e000228000706016c017e00",
]
"""Given to a Doc as they come, these end the process: memory is freed that is still in use."""
TAKE_THEM = """
import sys
from pycrdt import Doc, Map
from boardlog.growing import Growing, is_dear
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, Folded
for _ in range(300):
    doc = Doc()
    doc.get("tldraw", type=Map)
    growing = Growing(doc, Folded(EMPTY_UPDATE, EMPTY_STATE_VECTOR, []))
    for update in sys.argv[1:]:
        growing.take(bytes.fromhex(update))
"""


def test_G6_what_contradicts_itself_behind_a_gap_ends_no_process() -> None:
    for update in CONTRADICTING:
        validate(bytes.fromhex(update))
    subprocess.run([sys.executable, "-c", TAKE_THEM, *CONTRADICTING], check=True)


def test_what_cannot_be_read_says_that_the_document_is_not_the_logs() -> None:
    with pytest.raises(InvalidUpdate):
        Growing(Doc(), EMPTY).take(b"\x01")


# What is too dear for an event loop


@pytest.mark.parametrize(
    "update",
    [
        bombs.value_of(b"k") * 200,
        bombs.one_key(100),
        bombs.one_place(200),
        bombs.history(keys=2_000, writes=2_000, clients=1, size_max=1),
        bombs.update_of([], {1: [(2 * clock, 1) for clock in range(2_000)]}),
        bombs.update_of([(1, 0, [bombs.value_of(b"k", value=b"\x77" + bombs.sized(b"x" * 300_000))])]),
    ],
    ids=["unreadable", "one key", "one place", "many structs", "many deletions", "many bytes"],
)
def test_G6_what_may_hold_an_event_loop_is_told_apart(update: bytes) -> None:
    assert is_dear(update)


def test_what_people_do_in_one_go_is_not_dear() -> None:
    doc: Doc[Any] = Doc()
    records = doc.get("tldraw", type=Map)
    for step in range(2):
        before = doc.get_state()
        with doc.transaction():
            for number in range(480):
                records[f"shape:{number}"] = {"x": step, "props": {"text": "x" * 300}}
        assert not is_dear(doc.get_update(before)), "hundreds of shapes pasted, or dragged"
