"""What is settled of a socket's changes: a gapless count (L11)."""

import random

from relay.unlogged import Unlogged


def test_nothing_is_settled_at_first() -> None:
    assert (Unlogged().settled, Unlogged().is_empty) == (0, True)


def test_a_change_is_settled_when_it_is_logged() -> None:
    unlogged = Unlogged()
    unlogged.append(10)
    unlogged.append(20)
    assert (unlogged.settled, unlogged.size_bytes, unlogged.is_empty) == (0, 30, False)
    unlogged.logged(1)
    assert (unlogged.settled, unlogged.size_bytes, unlogged.is_empty) == (1, 20, False)
    unlogged.logged(1)
    assert (unlogged.settled, unlogged.size_bytes, unlogged.is_empty) == (2, 0, True)


def test_what_is_dropped_is_settled_at_once_if_nothing_is_on_its_way() -> None:
    unlogged = Unlogged()
    unlogged.drop()
    assert (unlogged.settled, unlogged.is_empty) == (1, True)


def test_what_is_dropped_behind_a_change_on_its_way_is_settled_with_it() -> None:
    unlogged = Unlogged()
    for _ in range(2):
        unlogged.append(1)
        unlogged.drop()
        unlogged.drop()
    assert unlogged.settled == 0
    unlogged.logged(1)
    assert unlogged.settled == 3, "the next one that waits is the fourth"
    unlogged.logged(1)
    assert unlogged.settled == 6


def test_the_count_is_that_of_the_longest_settled_beginning() -> None:
    chance = random.Random(3)
    unlogged = Unlogged()
    settled: list[bool] = []
    for _ in range(2000):
        match chance.randrange(3):
            case 0:
                unlogged.append(1)
                settled.append(False)
            case 1:
                unlogged.drop()
                settled.append(True)
            case _ if not unlogged.is_empty:
                unlogged.logged(1)
                settled[settled.index(False)] = True
        assert unlogged.settled == (settled.index(False) if False in settled else len(settled))
        assert unlogged.size_bytes == settled.count(False)
