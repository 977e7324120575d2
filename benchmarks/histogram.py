"""A log-linear histogram of latencies: small, mergeable, within 3 % of every value (pure)."""

from collections.abc import Iterable, Mapping

SUBDIVISION_BITS = 5
"""Each power of two is divided into so many times two parts: 32."""
_PARTS = 1 << SUBDIVISION_BITS


class Histogram:
    """Counts of values in whole microseconds."""

    def __init__(self, counts: Mapping[int, int] | None = None, max_us: int = 0) -> None:
        """Begin with nothing, or with what `to_json` told."""
        self._counts: dict[int, int] = dict(counts or {})
        self.max_us = max_us
        """The largest value, exactly."""

    @classmethod
    def of_seconds(cls, values: Iterable[float]) -> "Histogram":
        """Return the histogram of latencies in seconds; those below 0 count as 0."""
        made = cls()
        for value in values:
            made.add(max(0, round(value * 1e6)))
        return made

    def add(self, value_us: int) -> None:
        """Count a value of 0 or more."""
        index = _index(value_us)
        self._counts[index] = self._counts.get(index, 0) + 1
        self.max_us = max(self.max_us, value_us)

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self._counts.values())

    def percentile_us(self, percent: float) -> int:
        """Return the value that `percent` % of all do not exceed, rounded up to its part's end; 0 of none."""
        wanted = self.count * percent / 100
        reached = 0
        for index in sorted(self._counts):
            reached += self._counts[index]
            if reached >= wanted:
                return min(_end_us(index), self.max_us)
        return 0

    def to_json(self) -> dict[str, object]:
        """Return what `from_json` takes, with the usual percentiles for people who read it."""
        shown = {f"p{percent}_us": self.percentile_us(percent) for percent in (50, 90, 99)}
        counts = " ".join(f"{index}:{count}" for index, count in sorted(self._counts.items()))
        return {**shown, "max_us": self.max_us, "count": self.count, "counts": counts}

    @classmethod
    def from_json(cls, told: Mapping[str, object]) -> "Histogram":
        """Return the histogram that `to_json` told. Raises TypeError or ValueError for anything else."""
        counts, max_us = told.get("counts"), told.get("max_us")
        if not isinstance(counts, str) or not isinstance(max_us, int):
            raise TypeError("This is no histogram.")
        pairs = (pair.partition(":") for pair in counts.split())
        return cls({int(index): int(count) for index, _, count in pairs}, max_us)


def _index(value: int) -> int:
    shift = max(0, value.bit_length() - SUBDIVISION_BITS - 1)
    return (shift << SUBDIVISION_BITS) + (value >> shift)


def _end_us(index: int) -> int:
    """Return the largest value that `_index` puts there."""
    shift = max(0, (index >> SUBDIVISION_BITS) - 1)
    return ((index - (shift << SUBDIVISION_BITS) + 1) << shift) - 1
