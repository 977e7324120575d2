"""What a pass decides (L6, L7, L8), without any store."""

import pytest

from boardlog.ids import GENESIS, Cursor, EntryId, Tag
from persistence_worker.plan import SCARCE_SETTLE_MS, SETTLE_MS, Fold, Found, Rebase, Skip, Trim, plan

OLD = EntryId(1_000, 0)
SNAPSHOT = Cursor(EntryId(2_000, 0), Tag("aaaaaaaaaaaa"))
LATER = Cursor(EntryId(3_000, 7), Tag("bbbbbbbbbbbb"))

FOLDED_LATELY = Found(
    snapshot=SNAPSHOT, kept_from=OLD, head=SNAPSHOT, in_stream=True, linked=True, rebased=False, age_ms=0
)


def test_a_board_without_a_log_needs_nothing() -> None:
    assert plan(FOLDED_LATELY._replace(in_stream=False, age_ms=10 * SETTLE_MS)) == Skip()


@pytest.mark.parametrize("age_ms", [SCARCE_SETTLE_MS, SETTLE_MS])
def test_new_entries_are_folded_and_the_log_is_kept_from_the_snapshot_before(age_ms: int) -> None:
    assert plan(FOLDED_LATELY._replace(head=LATER, age_ms=age_ms)) == Fold(keep_from=SNAPSHOT.id)


@pytest.mark.parametrize("age_ms", [-5_000, 0, SCARCE_SETTLE_MS - 1])
def test_of_several_snapshots_stored_at_once_the_log_is_kept_from_the_one_before_them(age_ms: int) -> None:
    assert plan(FOLDED_LATELY._replace(head=LATER, age_ms=age_ms)) == Fold(keep_from=OLD)


def test_the_same_id_with_another_tag_is_new() -> None:
    other = Cursor(SNAPSHOT.id, LATER.tag)
    assert plan(FOLDED_LATELY._replace(head=other, linked=False)) == Rebase()


def test_a_lost_history_is_rebased_before_it_is_folded() -> None:
    lost = FOLDED_LATELY._replace(head=LATER, linked=False)
    assert plan(lost) == Rebase()


def test_a_rebased_history_is_folded_and_nothing_of_it_dropped() -> None:
    lost = FOLDED_LATELY._replace(head=LATER, linked=False, rebased=True)
    assert plan(lost) == Fold(keep_from=EntryId(0, 0))


def test_a_linked_log_with_a_rebase_is_folded_like_any_other() -> None:
    assert plan(FOLDED_LATELY._replace(head=LATER, rebased=True, age_ms=SETTLE_MS)) == Fold(keep_from=SNAPSHOT.id)


@pytest.mark.parametrize("age_ms", [0, 1, SETTLE_MS - 1])
def test_a_young_snapshot_keeps_the_log_of_the_one_before_and_is_looked_at_again(age_ms: int) -> None:
    assert plan(FOLDED_LATELY._replace(age_ms=age_ms)) == Trim(OLD, SETTLE_MS - age_ms)


@pytest.mark.parametrize("age_ms", [SETTLE_MS, 100 * SETTLE_MS])
def test_a_settled_snapshot_keeps_only_its_own_entry_and_needs_no_other_look(age_ms: int) -> None:
    assert plan(FOLDED_LATELY._replace(age_ms=age_ms)) == Trim(SNAPSHOT.id, None)


def test_G5_where_memory_is_scarce_a_snapshot_settles_sooner() -> None:
    young, settled = FOLDED_LATELY._replace(age_ms=1), FOLDED_LATELY._replace(age_ms=SCARCE_SETTLE_MS)
    assert plan(young, SCARCE_SETTLE_MS) == Trim(OLD, SCARCE_SETTLE_MS - 1)
    assert plan(settled, SCARCE_SETTLE_MS) == Trim(SNAPSHOT.id, None)


def test_a_clock_behind_the_databases_delays_the_trim() -> None:
    assert plan(FOLDED_LATELY._replace(age_ms=-5_000)) == Trim(OLD, SETTLE_MS + 5_000)


def test_a_board_that_was_never_written_is_left_as_it_is() -> None:
    newborn = FOLDED_LATELY._replace(snapshot=GENESIS, kept_from=GENESIS.id, head=GENESIS, age_ms=SETTLE_MS)
    assert plan(newborn) == Trim(GENESIS.id, None)
