"""Many small updates of one author as few larger ones that say the same (pure).

A shape that is dragged is written anew at each step, every time as an item that deletes the one before it. In one
update the items stand behind one another without a head each, and what the update itself deletes needs no content: it
is written as deleted, as yjs encodes it once it has collected its garbage. Five hundred moves of twenty shapes become
twenty records.

What comes out is well-formed because what goes in was: clocks stay as they are, an item of which one more is the
parent is never joined (`usual.Usual` knows no such), and the bounds below keep it cheaper than `cost.py` asks for and
small enough for whoever follows live (`growing.is_dear`).
"""

from collections.abc import Sequence
from itertools import pairwise

from boardlog.contents import VALUE_DEPTH_MAX
from boardlog.links import ANY, BINARY, DELETED, EMBED, HAS_LEFT, HAS_RIGHT, STRING, Intervals
from boardlog.merge import only_deletes, union, write_varint
from boardlog.usual import Item, Usual, read_usual

JOINED_BYTES_MAX = 56 * 1024
"""What goes into one update: with it an entry is still published whole (stream.PUBLISH_PAYLOAD_BYTES_MAX)."""
JOINED_STRUCTS_MAX = 500
"""Items, and deletions: half of what the bridge takes live, and few enough to be no cost (cost.COMPARISONS_MAX)."""
JOINED_CLOCKS_MAX = 8_000
"""Elements and characters: what yrs copies to join single ones grows with it (cost.JOINED_MAX)."""

_KIND_BITS = 0x1F
_DROPPED = frozenset({ANY, BINARY, EMBED, STRING})
"""Content that nobody misses when it is deleted. A shared type may have children, a format ends another one."""


def join(updates: Sequence[bytes]) -> list[bytes]:
    """Return valid updates of one author, in their order, joined where each goes on where the one before it ended.

    Whatever order the results are applied in, among others or among themselves, documents become what the parts would
    have made of them.
    """
    results: list[bytes] = []
    run = _Run()
    for update in updates:
        items: list[Item] = []
        usual = read_usual(update, VALUE_DEPTH_MAX, items)
        if usual is None or _is_child(update, items):
            results += run.encoded()
            results.append(update)
            run = _Run()
            continue
        if not run.has_room(update, usual, items):
            results += run.encoded()
            run = _Run()
        run.add(update, usual, items)
    return results + run.encoded()


def _is_child(update: bytes, items: list[Item]) -> bool:
    """Tell an only item that names its parent, which another part of the run may hold."""
    return len(items) == 1 and not update[items[0].at] & (HAS_LEFT | HAS_RIGHT) and not update[items[0].at + 1]


class _Run:
    """Updates whose items follow one another."""

    def __init__(self) -> None:
        self._parts: list[tuple[bytes, list[Item], int]] = []  # and where the clocks of each end
        self._deletes: list[dict[int, Intervals]] = []
        self._client = -1
        self._begin = self._end = 0
        self._bytes = self._structs = self._deletions = 0

    def has_room(self, update: bytes, usual: Usual, items: list[Item]) -> bool:
        """Tell whether an update goes on where this run ends, and fits."""
        if usual.client >= 0 and self._client >= 0:
            if (usual.client, usual.begin) != (self._client, self._end):
                return False
            if usual.end - self._begin > JOINED_CLOCKS_MAX:
                return False
        return (
            self._bytes + len(update) <= JOINED_BYTES_MAX
            and self._structs + len(items) <= JOINED_STRUCTS_MAX
            and self._deletions + _count(usual.deletes) <= JOINED_STRUCTS_MAX
        )

    def add(self, update: bytes, usual: Usual, items: list[Item]) -> None:
        """Take an update for which there is room; the first one of a run always."""
        self._parts.append((update, items, usual.end))
        self._deletes.append(usual.deletes)
        if usual.client >= 0:
            if self._client < 0:
                self._client, self._begin = usual.client, usual.begin
            self._end = usual.end
        self._bytes += len(update)
        self._structs += len(items)
        self._deletions += _count(usual.deletes)

    def encoded(self) -> list[bytes]:
        """Return the run as one update, or none if nothing is in it. One that stands alone stays as it is."""
        if len(self._parts) <= 1:
            return [update for update, _, _ in self._parts]
        deletes = union(self._deletes)
        encoded_deletes = only_deletes(deletes)[1:]
        if self._client < 0:
            return [b"\x00" + encoded_deletes]
        gone = _Gone(deletes.get(self._client, []))
        pieces = [b"\x01", write_varint(self._structs), write_varint(self._client), write_varint(self._begin)]
        for update, items, end in self._parts:
            for item, behind in pairwise([*items, Item(end, 0, 0, 0)]):
                info = update[item.at]
                if info & _KIND_BITS in _DROPPED and gone.has(item.clock, behind.clock):
                    pieces.append(bytes((info & ~_KIND_BITS | DELETED,)))
                    pieces.append(update[item.at + 1 : item.content])
                    pieces.append(write_varint(behind.clock - item.clock))
                else:
                    pieces.append(update[item.at : item.behind])
        pieces.append(encoded_deletes)
        return [b"".join(pieces)]


class _Gone:
    """What is deleted of one client, asked about in ascending order."""

    def __init__(self, intervals: Intervals) -> None:
        self._left = iter(intervals)
        self._begin, self._end = next(self._left, (0, 0))

    def has(self, begin: int, end: int) -> bool:
        """Tell whether all clocks from `begin` to `end` are deleted."""
        while self._end <= begin and (following := next(self._left, None)) is not None:
            self._begin, self._end = following
        return self._begin <= begin and end <= self._end


def _count(deletes: dict[int, Intervals]) -> int:
    return sum(map(len, deletes.values()))
