"""What one valid update may cost whoever integrates it: forged ones are refused, honest histories are not (G6)."""

import random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from boardlog import cost
from boardlog.errors import InvalidUpdate
from boardlog.update import dissect, validate
from tests import bombs
from tests.bombs import BOMBS


@pytest.mark.parametrize("name", BOMBS)
def test_G6_an_update_that_is_too_dear_to_integrate_is_refused(name: str) -> None:
    with pytest.raises(InvalidUpdate):
        validate(BOMBS[name])
    dissect(BOMBS[name])  # what is in a log already is read


@pytest.mark.parametrize(
    "update",
    [
        bombs.one_key(3_000),
        bombs.one_place(3_000),
        bombs.before_a_chain(3_000),
        bombs.cut_text(700, 200_000),
        bombs.cut_by_deletions(350, 200_000),
        bombs.single_elements(3_000),
        bombs.single_characters(19_000),
        bombs.many_clients(20_000),
    ],
)
def test_G6_below_the_bounds_the_same_is_taken(update: bytes) -> None:
    validate(update)


def test_G6_a_claim_of_too_many_structs_is_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.update.STRUCTS_MAX", 200)
    for update in (bombs.one_key(201), bombs.update_of([], {1: [(2 * clock, 1) for clock in range(201)]})):
        with pytest.raises(InvalidUpdate, match="1 structs or deletions too many"):
            validate(update)
    validate(bombs.one_key(200))


def test_L13_a_board_with_a_long_history_of_thousands_of_clients_is_taken() -> None:
    """10,000 shapes, 60,000 writes by 6,000 page loads, one in a hundred at the same time as another."""
    state = bombs.history(keys=10_000, writes=60_000, clients=6_000)
    Doc().apply_update(state)
    assert len(validate(state).structs) == 6_000


def test_G6_thousands_of_shapes_pasted_at_once_are_taken() -> None:
    doc: Doc[Any] = Doc()
    records = doc.get("tldraw", type=Map)
    with doc.transaction():
        for number in range(10_000):
            records[f"shape:{number}"] = {"x": number, "props": {"text": "x" * 50}}
    validate(doc.get_update())


@pytest.mark.parametrize("where", ["front", "end", "anywhere"])
def test_G6_lists_and_texts_that_people_write_element_by_element_are_taken(where: str) -> None:
    """As their documents encode them, by two who write at the same time in turn, and offline with a long beginning."""
    rng = random.Random(7)
    docs: list[Doc[Any]] = [Doc(client_id=number + 1) for number in range(2)]
    lists = [doc.get("list", type=Array) for doc in docs]
    texts = [doc.get("text", type=Text) for doc in docs]
    for step in range(6_000):
        number = step // 500 % 2
        if step % 500 == 0:
            docs[number].apply_update(docs[1 - number].get_update(docs[number].get_state()))
        size = len(lists[number])
        at = {"front": 0, "end": size, "anywhere": rng.randint(0, size)}[where]
        lists[number].insert(at, {"step": step})
        texts[number].insert(at, "x")
    before = docs[0].get_state()
    validate(docs[1].get_update())
    validate(docs[1].get_update(before))


def test_G6_two_who_moved_one_shape_for_hours_offline_are_taken() -> None:
    mine = [bombs.value_of(b"k", (9, 0)), *(bombs.value_of(b"k", (1, clock)) for clock in range(20_000))]
    yours = [bombs.value_of(b"k", (9, 0)), *(bombs.value_of(b"k", (2, clock)) for clock in range(20_000))]
    validate(bombs.update_of([(9, 0, [bombs.value_of(b"k")]), (2, 0, yours), (1, 0, mine)]))


def test_G6_small_updates_are_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly every update is small: it must cost nothing."""
    monkeypatch.setattr(cost, "COMPARISONS_MAX", 0)
    small, large = bombs.one_key(400), bombs.one_key(800)
    assert len(small) < cost.FREE_BYTES_MAX < len(large)
    validate(small)
    with pytest.raises(InvalidUpdate):
        validate(large)
