"""Updates of one author, joined: documents become what the parts would have made of them, for fewer bytes."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, merge_updates

from boardlog import joining
from boardlog.board_state import BoardState
from boardlog.errors import InvalidUpdate
from boardlog.growing import is_dear
from boardlog.joining import JOINED_BYTES_MAX, JOINED_STRUCTS_MAX
from boardlog.links import Ranges
from boardlog.merge import EMPTY_UPDATE, fold, parse_state_vector, union
from boardlog.update import dissect, validate
from boardlog.usual import read_usual
from tests.unit.test_update import real_session


def join(updates: Sequence[bytes]) -> list[bytes]:
    """Join updates of which all was read that can be."""
    return joining.join([(update, read_usual(update)) for update in updates])


def moves(count: int, shapes: int, size: int = 200, client_id: int = 7) -> list[bytes]:
    """Return the updates of one author who moves shapes in turn."""
    doc: Doc[Any] = Doc(client_id=client_id)
    records = doc.get("tldraw", type=Map)
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    for step in range(count):
        records[f"shape:{step % shapes}"] = {"x": step + 0.5, "text": "y" * size}
    return updates


def said(updates: Sequence[bytes]) -> Ranges:
    """Return all that updates speak of."""
    every = [dissect(update)[0] for update in updates]
    return Ranges(union(ranges.structs for ranges in every), union(ranges.deletes for ranges in every))


def shown(updates: Sequence[bytes]) -> tuple[Any, ...]:
    """Return what everybody sees of these updates, and what is known to be in them."""
    folded = fold(EMPTY_UPDATE, updates)
    assert not folded.rejected
    doc: Doc[Any] = Doc()
    doc.apply_update(folded.state)
    values = [doc.get("m", type=Map).to_py(), doc.get("a", type=Array).to_py(), str(doc.get("t", type=Text))]
    vector = parse_state_vector(folded.state_vector)
    return values, said([folded.state]), doc.get("tldraw", type=Map).to_py(), vector


def test_moves_of_one_shape_become_one_record() -> None:
    updates = moves(100, shapes=1)
    (joined,) = join(updates)
    assert len(joined) < 2 * len(updates[0]) + 100 * 20
    assert shown([joined]) == shown(updates)


def test_what_is_alone_or_another_client_s_or_later_stays_as_it_is() -> None:
    ours, theirs = moves(4, shapes=2), moves(2, shapes=1, client_id=9)
    assert join(ours[:1]) == ours[:1]
    assert join([ours[0], *theirs, ours[1]]) == [ours[0], *join(theirs), ours[1]]
    assert join([ours[0], theirs[1]]) == [ours[0], theirs[1]]
    assert join([ours[0], ours[2]]) == [ours[0], ours[2]]
    assert join([ours[1], ours[0]]) == [ours[1], ours[0]]
    assert join([ours[0], ours[0]]) == [ours[0], ours[0]]


def test_deletions_alone_are_joined_too() -> None:
    doc: Doc[Any] = Doc(client_id=7)
    records = doc.get("m", type=Map)
    records.update({f"k{number}": number for number in range(9)})
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    for number in range(9):
        del records[f"k{number}"]
    (joined,) = join(updates)
    assert validate(joined) == Ranges({}, {7: [(0, 9)]})


def test_G6_a_child_is_not_joined_with_what_may_be_its_parent() -> None:
    doc: Doc[Any] = Doc(client_id=7)
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    records = doc.get("m", type=Map)
    records["list"] = Array()
    records["list"].append(1)
    records["k"] = 1
    assert join(updates) == updates


@pytest.mark.parametrize(("count", "size"), [(3 * JOINED_STRUCTS_MAX, 10), (300, 1_000)])
def test_a_joined_update_stays_small_enough_for_everybody(count: int, size: int) -> None:
    for updates in (moves(count, shapes=count, size=size), moves(count, shapes=3, size=size)):
        joined = join(updates)
        assert 1 < len(joined) < count / 10
        assert all(len(update) <= JOINED_BYTES_MAX + 100 and not is_dear(update) for update in joined)
        assert said(joined) == said(updates)


def test_G6_what_would_be_dear_to_integrate_together_stays_apart() -> None:
    """Each part is fine, and so is each result; all in one, the steps of a list would be refused."""
    doc: Doc[Any] = Doc(client_id=7)
    things = doc.get("a", type=Array)
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    for _ in range(500):
        things.extend([None] * 100)
    joined = join(updates)
    for update in joined:
        validate(update)
    assert 1 < len(joined) < 50
    with pytest.raises(InvalidUpdate, match="single steps"):
        validate(merge_updates(*updates))
    assert shown(joined) == shown(updates)


@pytest.mark.parametrize("seed", range(60))
def test_joined_or_not_in_any_order_documents_are_the_same(seed: int) -> None:
    rng = random.Random(seed)
    updates, _ = real_session(rng, steps=60, nested=seed % 2 == 0)
    by_author: dict[object, list[bytes]] = {}
    for update in updates:
        by_author.setdefault(min(validate(update).structs, default=None), []).append(update)
    joined = [one for some in by_author.values() for one in join(some)]
    assert len(joined) < len(updates)
    for update in joined:
        validate(update)
    assert said(joined) == said(updates)
    expected = shown(updates)
    mixed = [*joined, *rng.sample(updates, k=rng.randrange(len(updates)))]  # parts that come a second time
    for order in (joined, rng.sample(joined, k=len(joined)), rng.sample(mixed, k=len(mixed))):
        assert shown(order) == expected


def test_G4_L12_a_state_with_the_joined_update_has_all_its_parts() -> None:
    """After a loss nobody brings the parts again; whoever answers with them is told that nothing is new."""
    updates = moves(100, shapes=5)
    (joined,) = join(updates)
    whole = BoardState(EMPTY_UPDATE, [joined])
    assert all(whole.holds(update, validate(update)) for update in updates)
    assert BoardState(EMPTY_UPDATE, updates).lost_by(whole) == []
    assert BoardState(EMPTY_UPDATE, [joined]).lost_by(BoardState(EMPTY_UPDATE, updates)) == []
    ((lost, _),) = whole.lost_by(BoardState(EMPTY_UPDATE, updates[:50]))
    assert shown([*updates[:50], lost]) == shown(updates)
    assert not BoardState(EMPTY_UPDATE, updates[:-1]).holds(joined, validate(joined))
