"""How long the next of a busy board or node waits: not below a rate, more with it, and never longer than a moment."""

import pytest

from boardlog.pacing import BOARD_LIMITS, NODE_LIMITS, Limits, Pace


def steady(rate: float, updates: int, seconds: float = 2.0, limits: Limits = BOARD_LIMITS) -> Pace:
    """Return the pace at which entries of so many updates left at this rate."""
    pace, now = Pace(limits), 0.0
    while now < seconds:
        pace.leave(updates, now)
        now += updates / rate
    return pace


@pytest.mark.parametrize("rate", [0.1, 10, 500, 900])
def test_a_quiet_board_never_waits(rate: float) -> None:
    pace = steady(rate, updates=1)
    assert pace.is_free
    assert pace.pause(pace.left_at) == 0


def test_the_pause_grows_with_the_rate_and_is_bounded() -> None:
    pauses = [(pace := steady(rate, updates=50)).pause(pace.left_at) for rate in (1_500, 3_000, 6_000, 10_000, 50_000)]
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < 0.01 < pauses[3] < pauses[4] == pytest.approx(BOARD_LIMITS.pause_seconds_max)


@pytest.mark.parametrize("limits", [BOARD_LIMITS, NODE_LIMITS])
def test_nobody_waits_longer_than_the_bound(limits: Limits) -> None:
    pace = steady(100 * limits.rate_free, updates=10, limits=limits)
    assert pace.pause(pace.left_at) == pytest.approx(limits.pause_seconds_max)


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
    assert Pace(BOARD_LIMITS).is_forgotten(0.0)
