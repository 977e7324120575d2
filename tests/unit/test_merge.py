"""Folding loses nothing, whatever the order, and a difference lacks nothing (G3)."""

import pickle
import random
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, get_state, get_update, merge_updates
from test_update import (
    ANY,
    MAP,
    STRING,
    THOROUGH,
    TYPE,
    VALUE,
    YJS_STATE,
    deletes,
    in_item,
    in_root,
    joined,
    one,
    real_session,
    right_of,
    string,
    text_value,
    update,
    values,
    varint,
)

from boardlog import merge
from boardlog.errors import InvalidUpdate
from boardlog.merge import (
    EMPTY_STATE_VECTOR,
    EMPTY_UPDATE,
    Folded,
    difference,
    fold,
    parse_state_vector,
    write_varint,
)
from boardlog.update import dissect, validate

seeds = st.integers(0, 2**32)


def view(state: bytes) -> tuple[Any, ...]:
    doc: Doc[Any] = Doc()
    doc.apply_update(state)
    return (
        doc.get("m", type=Map).to_py(),
        doc.get("a", type=Array).to_py(),
        doc.get("t", type=Text).diff(),
        clocks(doc.get_state()),
    )


def clocks(vector: bytes) -> dict[int, int]:
    return {client: clock for client, clock in parse_state_vector(vector).items() if clock}


def said(updates: Sequence[bytes]) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """All content and all deletions that these updates speak of, by client and single clock."""
    ranges = [dissect(data)[0] for data in updates]
    return joined(each.structs for each in ranges), joined(each.deletes for each in ranges)


def assert_has_all(state: bytes, updates: Sequence[bytes]) -> None:
    structs, deleted = said(updates)
    has_structs, has_deleted = said([state])
    assert has_structs == structs
    assert all(clocks <= has_deleted[client] for client, clocks in deleted.items())


@settings(THOROUGH, max_examples=100)
@given(seed=seeds)
def test_G3_folding_all_is_the_document_in_any_order(seed: int) -> None:
    rng = random.Random(seed)
    updates, docs = real_session(rng)
    for doc in docs:
        for data in updates:
            doc.apply_update(data)
    folded = fold(EMPTY_UPDATE, rng.sample(updates, len(updates)))
    assert folded.rejected == []
    assert view(folded.state) == view(docs[0].get_update())
    assert clocks(folded.state_vector) == clocks(docs[0].get_state()) == clocks(get_state(folded.state))
    assert_has_all(folded.state, updates)


@settings(THOROUGH, max_examples=100)
@given(seed=seeds)
def test_G3_what_waits_is_kept_until_the_rest_comes(seed: int) -> None:
    rng = random.Random(seed)
    updates, _ = real_session(rng)
    some = [data for data in updates if rng.random() < 0.7]
    some = rng.sample(some, len(some)) + rng.sample(some, len(some) // 3)
    rest = rng.sample(updates, len(updates))
    cut = rng.randrange(len(some) + 1)
    at_once = fold(EMPTY_UPDATE, some)
    in_steps = fold(fold(EMPTY_UPDATE, some[cut:]).state, some[:cut])
    for folded in (at_once, in_steps):
        assert_has_all(folded.state, some)
        assert clocks(folded.state_vector) == clocks(at_once.state_vector)
        assert view(fold(folded.state, rest).state) == view(fold(EMPTY_UPDATE, updates).state)


@settings(THOROUGH, max_examples=30)
@given(seed=seeds)
def test_G3_folding_again_does_not_grow(seed: int) -> None:
    rng = random.Random(seed)
    updates, _ = real_session(rng)
    some = [data for data in updates if rng.random() < 0.8]
    first = fold(EMPTY_UPDATE, some)
    state = first.state
    for number in range(50):
        state = fold(state, [state, *some] if number % 5 == 0 else []).state
        assert len(state) <= len(first.state)
    assert said([state]) == said([first.state])


def test_what_is_complete_is_just_the_documents_encoding() -> None:
    doc, updates = author([("k", number) for number in range(300)])
    folded = fold(updates[0], updates[1:])
    assert folded.state == doc.get_update()
    assert len(folded.state) < 60  # overwritten content is gone


def author(edits: list[tuple[str, Any]]) -> tuple["Doc[Any]", list[bytes]]:
    doc: Doc[Any] = Doc(client_id=7)
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    records = doc.get("m", type=Map)
    for key, value in edits:
        if value is None:
            del records[key]
        else:
            records[key] = value
    return doc, updates


@pytest.mark.parametrize("edits", [[("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", None)], [(k, k) for k in "abcde"]])
def test_one_authors_updates_in_every_order(edits: list[tuple[str, Any]]) -> None:
    doc, updates = author(edits)
    expected = view(doc.get_update())
    for order in permutations(updates):
        assert view(fold(EMPTY_UPDATE, order).state) == expected
        state = EMPTY_UPDATE
        for data in order:
            state = fold(state, [data]).state
        assert view(state) == expected


def test_deletions_that_come_first_wait_for_what_they_delete() -> None:
    doc, (made, deleted) = author([("a", 1), ("a", None)])
    early = fold(EMPTY_UPDATE, [deleted])
    assert said([early.state]) == ({}, {7: {0}})
    assert view(fold(early.state, [made]).state) == view(doc.get_update())
    assert fold(early.state, [early.state]).state == early.state


def test_G6_an_innocent_update_is_not_blamed_for_what_waited_for_it() -> None:
    """A forger names the victim's next item, which is no shared type, as a parent; pycrdt fails on the victim's."""
    waiting = update(
        (
            7,
            0,
            [
                in_item(ANY, values(text_value("evil")), (9, 0), "k"),
                in_item(TYPE, MAP, (9, 0), "l"),
                in_item(ANY, values(text_value("child of evil")), (7, 1), "k"),
                in_root(ANY, values(text_value("good")), key="good"),
            ],
        )
    )
    victim = update((9, 0, [VALUE, in_root(ANY, values(text_value("b")), key="l")]))
    later = update((7, 4, [in_root(ANY, values(text_value("later")), key="later")]))
    updates = [validate(data) and data for data in (waiting, victim, later)]
    for order in permutations(updates):
        state = EMPTY_UPDATE
        for data in order:
            folded = fold(state, [data])
            assert folded.rejected == []
            state = folded.state
        for each in (state, fold(EMPTY_UPDATE, order).state):
            # As in yjs: what hangs on a value is nothing, all else is there.
            assert view(each) == ({"k": "a", "l": "b", "good": "good", "later": "later"}, [], [], {7: 5, 9: 2})


def test_G6_a_forger_cannot_take_back_what_is_integrated() -> None:
    doc, updates = author([("a", 1), ("b", 2), ("c", 3)])
    forged = update((7, 0, [right_of(ANY, values(b"\x7e"), (99, 5)), in_root(ANY, values(b"\x7e"), key="d")]))
    for folded in (fold(doc.get_update(), [forged]), fold(EMPTY_UPDATE, [*updates, forged])):
        assert view(folded.state) == view(doc.get_update())


def test_G6_contradictions_behind_a_gap_do_not_crash() -> None:
    """Applied to a Doc one by one, these have ended the process: memory was freed that was still in use."""
    value = in_root(ANY, values(b"\x7c\x40\x20\x00\x00"), key="k")
    gone = [in_root(1, b"\x01", key=key) for key in ("k", "l", "m")]
    base = update((7, 0, [in_root(1, b"\x01", root="x"), b"\x00\x03", *gone]))
    forged, real = update((7, 2, [value])), update((7, 4, [value]))
    for order in permutations([forged, real, base]):
        assert clocks(fold(EMPTY_UPDATE, order).state_vector) == {7: 7}


LONG = update((7, 0, [in_root(STRING, string("\U0001f600ab"), root="t"), in_root(ANY, values(b"\x7e"), key="after")]))


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (update(deleted=deletes((7, [(0, 1)]))), "\ufffdab"),
        (update(deleted=deletes((7, [(1, 1)]))), "\ufffdab"),
        (update(deleted=deletes((7, [(1, 2)]))), "\ufffdb"),
        (update((9, 0, [right_of(STRING, string("x"), (7, 0))])), "\ufffd\ufffdabx"),
        (update((9, 0, [b"\x44" + varint(7) + varint(1) + string("x")])), "\ufffdx\ufffdab"),
        (update(deleted=deletes((7, [(0, 2)]))), "ab"),
        (update((9, 0, [b"\x44" + varint(7) + varint(0) + string("x")])), "x\U0001f600ab"),
    ],
    ids=["first half", "second half", "and more", "behind the first", "before the second", "whole", "before it"],
)
def test_G3_half_a_character_costs_nothing_else(cut: bytes, text: str) -> None:
    for order in ([LONG, cut], [cut, LONG]):
        state = fold(EMPTY_UPDATE, order).state
        for _ in range(5):
            assert view(state)[0] == {"after": None}
            assert "".join(run for run, _ in view(state)[2]) == text
            assert view(state)[3][7] == 5
            state = fold(state, []).state


def test_unreadable_updates_are_left_out_and_named() -> None:
    doc, updates = author([("a", 1), ("b", 2)])
    rubbish = [b"", b"\x01", b"rubbish", one(in_root(2, values(string("1"))))]
    folded = fold(EMPTY_UPDATE, [rubbish[0], updates[0], rubbish[1], rubbish[2], updates[1], rubbish[3]])
    assert folded == Folded(doc.get_update(), doc.get_state(), [0, 2, 3, 5])


@pytest.mark.parametrize("base", [b"", b"rubbish", b"\x01"])
def test_an_unreadable_base_is_an_error(base: bytes) -> None:
    with pytest.raises(InvalidUpdate, match="stored state"):
        fold(base, [VALUE])


class PanicException(BaseException):
    """As pycrdt raises it: of a module that nobody can import."""


PanicException.__module__ = "pyo3_runtime"


def doc_that_raises(error: BaseException, poison: bytes) -> type:
    class Poisoned(Doc[Any]):
        def apply_update(self, update: bytes) -> None:
            if update == poison:
                raise error
            super().apply_update(update)

    return Poisoned


def test_G6_what_pycrdt_panics_on_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    doc, updates = author([("a", 1), ("b", 2)])
    poison = update((9, 0, [VALUE]))
    monkeypatch.setattr(merge, "Doc", doc_that_raises(PanicException(), poison))
    assert fold(EMPTY_UPDATE, [updates[0], poison, updates[1]]) == Folded(doc.get_update(), doc.get_state(), [1])
    with pytest.raises(InvalidUpdate, match="stored state"):
        fold(poison, updates)


def test_an_interrupt_is_no_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "Doc", doc_that_raises(KeyboardInterrupt(), one(VALUE)))
    with pytest.raises(KeyboardInterrupt):
        fold(EMPTY_UPDATE, [one(VALUE)])


def test_fold_goes_to_another_process() -> None:
    folded = fold(EMPTY_UPDATE, [YJS_STATE])
    assert pickle.loads(pickle.dumps(fold)) is fold
    assert pickle.loads(pickle.dumps(folded)) == folded


@settings(THOROUGH, max_examples=100)
@given(seed=seeds)
def test_G2_a_difference_lacks_nothing(seed: int) -> None:
    rng = random.Random(seed)
    updates, docs = real_session(rng)
    some = [data for data in updates if rng.random() < 0.8]
    state = fold(EMPTY_UPDATE, some).state
    rest = [data for data in updates if data not in some]
    for doc in docs:
        has = doc.get_update()
        told = fold(has, [difference(state, doc.get_state())])
        assert said([told.state])[0] == said([has, state])[0]
        deleted = said([told.state])[1]
        assert all(known <= deleted[client] for client, known in said([state])[1].items())
        assert view(fold(told.state, rest).state) == view(fold(EMPTY_UPDATE, updates).state)


def test_G2_a_difference_keeps_what_waits() -> None:
    _, updates = author([("a", 1), ("b", 2), ("c", 3), ("a", None)])
    state = fold(EMPTY_UPDATE, [updates[0], updates[2], updates[3]]).state
    lacking = difference(state, varint(1) + varint(7) + varint(1))
    assert said([lacking]) == ({7: {2}}, {7: {0}})


VECTORS = {
    EMPTY_STATE_VECTOR: {},
    b"\x01\x07\x05": {7: 5},
    b"\x02\x07\x05\x08\x00": {7: 5, 8: 0},
    varint(1) + varint(2**53 - 1) + varint(2**31 - 1): {2**53 - 1: 2**31 - 1},
}


@pytest.mark.parametrize("data", VECTORS)
def test_state_vectors(data: bytes) -> None:
    assert parse_state_vector(data) == VECTORS[data]
    assert difference(EMPTY_UPDATE, data) == EMPTY_UPDATE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x01\x07",
        b"\x01\x07\x85",
        b"\x00\x00",
        b"\x01\x07\x05\x00",
        b"\x02\x07\x05\x07\x06",
        b"\x01" + varint(2**53) + b"\x01",
        b"\x01\x07" + varint(2**31),
        b"\xff" * 20,
        varint(2**30) + b"\x07\x05",
    ],
)
def test_G6_state_vectors_that_are_none(data: bytes) -> None:
    with pytest.raises(InvalidUpdate):
        parse_state_vector(data)
    with pytest.raises(InvalidUpdate):
        difference(one(VALUE), data)


@given(number=st.integers(0, 2**53))
def test_varints(number: int) -> None:
    assert write_varint(number) == varint(number)


def test_folding_many_updates_out_of_order() -> None:
    doc, updates = author([(f"k{number % 50}", number) for number in range(5000)])
    random.Random(1).shuffle(updates)
    assert view(fold(EMPTY_UPDATE, updates).state) == view(doc.get_update())


def test_merging_natively_is_what_a_fold_agrees_with() -> None:
    updates, _ = real_session(random.Random(3), steps=60)
    assert view(fold(EMPTY_UPDATE, updates).state) == view(merge_updates(*updates))
    assert get_update(fold(EMPTY_UPDATE, updates).state, fold(EMPTY_UPDATE, updates).state_vector)[0] == 0
