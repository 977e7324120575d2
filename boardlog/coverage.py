"""What is known to be in a board's log, so that an echo of it need not be appended again (L12)."""

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import Final, NamedTuple, Self

from pycrdt import get_state, get_update

from boardlog.links import Intervals, Ranges
from boardlog.merge import parse_state_vector, write_varint
from boardlog.merge import union as join
from boardlog.update import dissect

_INSERTED_MAX: Final = 16
"""Inserting moves all that lies behind; more are joined at once, for a forger's update may have a million."""
_BEGIN: Final = itemgetter(0)
_END: Final = itemgetter(1)


class StateRead(NamedTuple):
    """What is to be known of a folded state: reading it takes about 40 ms a megabyte."""

    vector: bytes
    """For each client the clock up to which nothing is missing."""
    remainder: bytes
    """What a peer with this vector lacks: all deletions, and what is pending."""
    ranges: Ranges
    """What the remainder speaks of."""


def read_state(state: bytes) -> StateRead:
    """Read a folded state.

    Content that is there from the start is measured natively; only the rest is read in Python: the delete set and
    what is pending. Raise InvalidUpdate if that cannot be read, ValueError if pycrdt cannot read the state.
    """
    vector = get_state(state)  # stops at the first gap of each client
    remainder = get_update(state, vector)
    return StateRead(vector, remainder, dissect(remainder)[0])


class Coverage:
    """The content and the deletions that a log holds, by client id.

    It errs in one direction only: what it has not been told counts as not covered. That costs an append that says
    nothing new; the other direction would lose an edit.
    """

    __slots__ = ("_deletes", "_structs")

    def __init__(self) -> None:
        """Begin with an empty log."""
        self._structs: dict[int, Intervals] = {}
        self._deletes: dict[int, Intervals] = {}

    @classmethod
    def of_state(cls, read: StateRead) -> Self:
        """Return what a folded state covers, its pending parts and deletions included."""
        coverage = cls()
        coverage._structs = {client: [(0, end)] for client, end in parse_state_vector(read.vector).items() if end}
        coverage.add(read.ranges)
        return coverage

    def add(self, ranges: Ranges) -> None:
        """Count in an update that the log acknowledged. Content beyond a gap is kept apart until the gap is filled."""
        for known, added in ((self._structs, ranges.structs), (self._deletes, ranges.deletes)):
            for client, intervals in added.items():
                union = known.setdefault(client, [])
                if len(intervals) > _INSERTED_MAX:
                    known.update(join([{client: union}, {client: intervals}]))
                    continue
                for begin, end in intervals:
                    _insert(union, begin, end)

    def covers(self, ranges: Ranges) -> bool:
        """Tell whether all content and all deletions that an update speaks of are in the log."""
        return _contains(self._structs, ranges.structs) and _contains(self._deletes, ranges.deletes)

    def state_vector(self) -> bytes:
        """Return the vector for a SyncStep1: for each client the clock up to which nothing is missing."""
        ends = {client: union[0][1] for client, union in self._structs.items() if union[0][0] == 0}
        return write_varint(len(ends)) + b"".join(
            write_varint(client) + write_varint(end) for client, end in ends.items()
        )


def _insert(union: Intervals, begin: int, end: int) -> None:
    """Add an interval to ascending ones of which no two touch."""
    first = bisect_left(union, begin, key=_END)
    last = bisect_right(union, end, key=_BEGIN)
    if first < last:
        begin = min(begin, union[first][0])
        end = max(end, union[last - 1][1])
    union[first:last] = [(begin, end)]


def _contains(known: dict[int, Intervals], asked: dict[int, Intervals]) -> bool:
    return all(_holds(known.get(client, []), intervals) for client, intervals in asked.items())


def _holds(union: Intervals, intervals: Intervals) -> bool:
    for begin, end in intervals:
        at = bisect_right(union, begin, key=_BEGIN) - 1
        if at < 0 or union[at][1] < end:
            return False
    return True
