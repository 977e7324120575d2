"""How long a busy board's next entry waits, so that it carries more (pure).

An entry costs a turn of two processes, a call of Redis and a write to each reader, whatever is in it. A board that few
people edit never waits. One on which thousands of updates a second arrive waits some milliseconds more with each
thousand: no reader sees the difference, and an entry carries hundreds.
"""

from math import exp, inf

RATE_SECONDS = 0.2
"""Over about this time the rate is measured: a burst of a hundred updates is no reason to wait."""
RATE_FREE = 1_000.0
"""Updates per second of a board up to which nothing waits."""
PAUSE_SECONDS_PER_RATE = 5e-6
"""What each update per second above that adds to the pause."""
PAUSE_SECONDS_MAX = 0.05


class Pace:
    """One board's rate, from what its entries carried and when they left. No step in it: it decays, and grows."""

    __slots__ = ("left_at", "rate")

    def __init__(self) -> None:
        """Nothing has left yet."""
        self.left_at = -inf
        self.rate = 0.0
        """Updates per second when the last entry left."""

    def leave(self, updates: int, now: float) -> None:
        """Count an entry that leaves now."""
        self.rate = self.rate * exp((self.left_at - now) / RATE_SECONDS) + updates / RATE_SECONDS
        self.left_at = now

    def pause(self, now: float) -> float:
        """Return the seconds, from now, that the next entry should wait."""
        if self.rate <= RATE_FREE:
            return 0.0
        pause = min(PAUSE_SECONDS_MAX, (self.rate - RATE_FREE) * PAUSE_SECONDS_PER_RATE)
        return max(0.0, self.left_at + pause - now)

    def is_forgotten(self, now: float) -> bool:
        """Tell whether what was measured says nothing any more."""
        return now - self.left_at > 5 * RATE_SECONDS
