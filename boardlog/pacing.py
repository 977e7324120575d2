"""How long the next entry waits, so that more goes with it (pure).

An entry costs a turn of two processes, a call of Redis and a write to each reader, whatever is in it. A board that few
people edit never waits. One on which thousands of updates a second arrive waits some milliseconds more with each
thousand: no reader sees the difference, and an entry carries hundreds.

A pipeline costs as much again: a write, and the waking of Redis and of every node that follows one of its boards. Where
hundreds of entries a second leave a node, of however many boards, some leave together.
"""

from math import exp, inf
from typing import NamedTuple

RATE_SECONDS = 0.2
"""Over about this time a rate is measured: a burst of a hundred updates is no reason to wait."""


class Limits(NamedTuple):
    """How a pause grows with the rate."""

    rate_free: float
    """Per second, up to which nothing waits."""
    pause_seconds_per_rate: float
    """What each one a second above that adds to the pause."""
    pause_seconds_max: float


BOARD_LIMITS = Limits(rate_free=1_000.0, pause_seconds_per_rate=5e-6, pause_seconds_max=0.05)
"""For a board's next entry, by its updates."""
NODE_LIMITS = Limits(rate_free=100.0, pause_seconds_per_rate=1e-5, pause_seconds_max=0.003)
"""For a node's next pipeline, by the entries of all its boards."""


class Pace:
    """A rate, from how much left and when. No step in it: it decays, and grows."""

    __slots__ = ("left_at", "limits", "rate")

    def __init__(self, limits: Limits) -> None:
        """Nothing has left yet."""
        self.limits = limits
        self.left_at = -inf
        self.rate = 0.0
        """Per second, when something last left."""

    @property
    def is_free(self) -> bool:
        """Whether the next leaves at once, whenever that is."""
        return self.rate <= self.limits.rate_free

    def leave(self, count: int, now: float) -> None:
        """Count what leaves now."""
        self.rate = self.rate * exp((self.left_at - now) / RATE_SECONDS) + count / RATE_SECONDS
        self.left_at = now

    def pause(self, now: float) -> float:
        """Return the seconds, from now, that the next should wait."""
        rate_free, pause_seconds_per_rate, pause_seconds_max = self.limits
        if self.rate <= rate_free:
            return 0.0
        pause = min(pause_seconds_max, (self.rate - rate_free) * pause_seconds_per_rate)
        return max(0.0, self.left_at + pause - now)

    def is_forgotten(self, now: float) -> bool:
        """Tell whether what was measured says nothing any more."""
        return now - self.left_at > 5 * RATE_SECONDS
