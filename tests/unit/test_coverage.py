"""Coverage claims nothing that the log lacks (L12)."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Map
from test_update import THOROUGH, VALUE, deletes, joined, real_session, update, varint

from boardlog.coverage import Coverage, read_state
from boardlog.links import Ranges
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, fold, parse_state_vector
from boardlog.update import validate

NOTHING = Ranges({}, {})


def test_an_empty_log_covers_only_nothing() -> None:
    for coverage in (Coverage(), Coverage.of_state(read_state(EMPTY_UPDATE))):
        assert coverage.covers(NOTHING)
        assert not coverage.covers(Ranges({7: [(0, 1)]}, {}))
        assert not coverage.covers(Ranges({}, {7: [(0, 1)]}))
        assert coverage.state_vector() == EMPTY_STATE_VECTOR


def test_what_was_added_is_covered_and_nothing_else() -> None:
    coverage = Coverage()
    coverage.add(Ranges({7: [(0, 5)]}, {7: [(1, 2)], 8: [(4, 6)]}))
    assert coverage.covers(Ranges({7: [(0, 5)]}, {8: [(4, 6)]}))
    assert coverage.covers(Ranges({7: [(2, 3)]}, {7: [(1, 2)], 8: [(5, 6)]}))
    for ranges in (
        Ranges({7: [(0, 6)]}, {}),
        Ranges({7: [(5, 6)]}, {}),
        Ranges({8: [(0, 1)]}, {}),
        Ranges({}, {7: [(0, 2)]}),
        Ranges({7: [(0, 5)]}, {8: [(3, 5)]}),
        Ranges({}, {9: [(0, 1)]}),
    ):
        assert not coverage.covers(ranges)


def test_content_beyond_a_gap_counts_but_not_in_the_vector() -> None:
    coverage = Coverage()
    coverage.add(Ranges({7: [(0, 2)], 8: [(3, 4)]}, {}))
    coverage.add(Ranges({7: [(5, 8)]}, {}))
    assert coverage.covers(Ranges({7: [(0, 1), (6, 8)], 8: [(3, 4)]}, {}))
    assert not coverage.covers(Ranges({7: [(1, 6)]}, {}))
    assert parse_state_vector(coverage.state_vector()) == {7: 2}
    coverage.add(Ranges({7: [(2, 5)]}, {}))
    assert coverage.covers(Ranges({7: [(0, 8)]}, {}))
    assert parse_state_vector(coverage.state_vector()) == {7: 8}


def test_many_intervals_at_once_count_as_one_by_one() -> None:
    at_once, one_by_one = Coverage(), Coverage()
    for ranges in (
        Ranges({7: [(clock, clock + 1) for clock in range(0, 400, 4)]}, {}),
        Ranges(
            {7: [(clock, clock + 2) for clock in range(1, 300, 4)]}, {7: [(clock, clock + 2) for clock in range(99)]}
        ),
    ):
        at_once.add(ranges)
        for client, intervals in ranges.structs.items():
            for interval in intervals:
                one_by_one.add(Ranges({client: [interval]}, {}))
    for begin in range(400):
        for end in range(begin + 1, min(begin + 6, 401)):
            asked = Ranges({7: [(begin, end)]}, {})
            assert at_once.covers(asked) == one_by_one.covers(asked)
    assert at_once.state_vector() == one_by_one.state_vector()
    assert at_once.covers(Ranges({}, {7: [(0, 100)]}))
    assert not at_once.covers(Ranges({}, {7: [(0, 101)]}))


intervals = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 6)).map(lambda pair: (pair[0], sum(pair))), max_size=8
)


@settings(THOROUGH, max_examples=300)
@given(added=st.lists(intervals, max_size=6), asked=intervals)
def test_any_intervals_in_any_order(added: list[list[tuple[int, int]]], asked: list[tuple[int, int]]) -> None:
    coverage = Coverage()
    for each in added:
        coverage.add(Ranges({7: each} if each else {}, {8: each} if each else {}))
    known = joined([{7: [pair for each in added for pair in each]}])[7]
    is_covered = joined([{7: asked}])[7] <= known
    assert coverage.covers(Ranges({7: asked}, {})) == is_covered
    assert coverage.covers(Ranges({}, {8: asked})) == is_covered
    first_gap = next(clock for clock in range(100) if clock not in known)
    assert parse_state_vector(coverage.state_vector()) == ({7: first_gap} if first_gap else {})


@settings(THOROUGH, max_examples=100)
@given(seed=st.integers(0, 2**32))
def test_L12_of_a_folded_state(seed: int) -> None:
    rng = random.Random(seed)
    updates, _ = real_session(rng)
    some = [data for data in updates if rng.random() < 0.75]
    folded = fold(EMPTY_UPDATE, some)
    coverage = Coverage.of_state(read_state(folded.state))
    named = [validate(data) for data in some]
    assert all(coverage.covers(ranges) for ranges in named)
    vector = parse_state_vector(coverage.state_vector())
    assert all(vector.get(client, 0) >= clock for client, clock in parse_state_vector(folded.state_vector).items())
    structs = joined(ranges.structs for ranges in named)
    for data in updates:
        ranges = validate(data)
        if coverage.covers(ranges):
            # Then the log has all its content, and folding it in would change nothing.
            assert all(known <= structs[client] for client, known in joined([ranges.structs]).items())
            assert set(validate(fold(folded.state, [data]).state).deletes) == set(validate(folded.state).deletes)
        coverage.add(ranges)
        assert coverage.covers(ranges)


def test_L12_an_echo_is_covered_and_a_new_deletion_is_not() -> None:
    client: Doc[Any] = Doc(client_id=7)
    records = client.get("m", type=Map)
    for number in range(20):
        records[f"k{number % 5}"] = {"x": number}
    del records["k1"]
    state = fold(EMPTY_UPDATE, [client.get_update()]).state
    coverage = Coverage.of_state(read_state(state))
    echo = client.get_update(coverage.state_vector())
    assert echo != EMPTY_UPDATE  # never empty, once anything was deleted
    assert coverage.covers(validate(echo))
    assert coverage.covers(validate(client.get_update()))
    del records["k2"]
    unsaved = client.get_update(coverage.state_vector())
    assert not coverage.covers(validate(unsaved))
    coverage.add(validate(unsaved))
    assert coverage.covers(validate(client.get_update()))


def test_what_waits_in_a_state_is_covered() -> None:
    state = update((7, 0, [VALUE, b"\x0a\x04", VALUE]), deleted=deletes((7, [(5, 1)]), (9, [(0, 2)])))
    coverage = Coverage.of_state(read_state(state))
    assert coverage.covers(validate(state))
    assert not coverage.covers(Ranges({7: [(1, 2)]}, {}))
    assert coverage.state_vector() == b"\x01\x07\x01"


@pytest.mark.parametrize("state", [b"", b"\x01", b"rubbish"])
def test_a_state_that_cannot_be_read(state: bytes) -> None:
    with pytest.raises(ValueError, match="update"):
        Coverage.of_state(read_state(state))


def test_a_large_claim_costs_nothing() -> None:
    coverage = Coverage()
    coverage.add(validate(update((7, 0, [b"\x00" + varint(2**31 - 1)]))))
    assert coverage.covers(Ranges({7: [(0, 2**31 - 1)]}, {}))
