"""Who got which change how long after it was due; the caller brings the time."""

import asyncio
from array import array


class Deliveries:
    """Deliveries of one measurement, over all of its boards."""

    def __init__(self, expected: int) -> None:
        """Wait for so many."""
        self.expected = expected
        self.latencies = array("d")
        """Seconds from when a change was due until a reader had it."""
        self.complete = asyncio.Event()
        if not expected:
            self.complete.set()

    @property
    def count(self) -> int:
        """How many were made."""
        return len(self.latencies)


class Feed:
    """The changes of one board that are counted, by their numbers."""

    def __init__(self, deliveries: Deliveries, after: int) -> None:
        """Count the changes behind number `after`."""
        self.after = after
        self._deliveries = deliveries
        self._due: list[float] = []

    def send(self, due: float) -> None:
        """Note that the next change was due at `due`."""
        self._due.append(due)

    def take(self, seen: int, number: int, now: float) -> int:
        """Count what a reader that had all up to `seen` has with change `number`, at `now`; return what it has seen.

        Who has a change has all before it: an author's changes build upon each other, and may come merged.
        """
        if number <= seen:
            return seen
        add, due, after = self._deliveries.latencies.append, self._due, self.after
        for earlier in range(max(seen, after) + 1, number + 1):
            add(now - due[earlier - after - 1])
        if self._deliveries.count >= self._deliveries.expected:
            self._deliveries.complete.set()
        return number
