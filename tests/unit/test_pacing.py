"""How long a busy board's next entry waits: nothing below a rate, more with it, and never longer than a moment."""

import pytest

from boardlog.pacing import PAUSE_SECONDS_MAX, RATE_FREE, Pace


def steady(rate: float, updates: int, seconds: float = 2.0) -> Pace:
    """Return the pace of a board whose entries of so many updates left at this rate."""
    pace, now = Pace(), 0.0
    while now < seconds:
        pace.leave(updates, now)
        now += updates / rate
    return pace


@pytest.mark.parametrize("rate", [0.1, 10, 500, 900])
def test_a_quiet_board_never_waits(rate: float) -> None:
    pace = steady(rate, updates=1)
    assert pace.rate <= RATE_FREE
    assert pace.pause(pace.left_at) == 0


def test_the_pause_grows_with_the_rate_and_is_bounded() -> None:
    pauses = [(pace := steady(rate, updates=50)).pause(pace.left_at) for rate in (1_500, 3_000, 6_000, 10_000, 50_000)]
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 0.01 < pauses[3] < pauses[4] == pytest.approx(PAUSE_SECONDS_MAX)


def test_it_is_counted_from_when_the_last_entry_left() -> None:
    pace = steady(10_000, updates=50)
    whole = pace.pause(pace.left_at)
    assert pace.pause(pace.left_at + whole / 2) == pytest.approx(whole / 2)
    assert pace.pause(pace.left_at + whole) == 0


def test_a_rate_is_forgotten() -> None:
    pace = steady(10_000, updates=50)
    assert not pace.is_forgotten(pace.left_at + 0.1)
    assert pace.is_forgotten(pace.left_at + 2)
    pace.leave(1, pace.left_at + 2)
    assert pace.pause(pace.left_at) == 0
    assert Pace().is_forgotten(0.0)
