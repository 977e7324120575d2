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
from typing import Final

from boardlog.links import ANY, BINARY, DELETED, EMBED, HAS_LEFT, HAS_RIGHT, STRING, Intervals
from boardlog.merge import only_deletes, union, write_varint
from boardlog.usual import Item, Usual

JOINED_BYTES_MAX: Final = 112 * 1024
"""What goes into one update: with it an entry is still published whole (stream.PUBLISH_PAYLOAD_BYTES_MAX)."""
JOINED_STRUCTS_MAX: Final = 500
"""Items, and deletions: half of what the bridge takes live, and few enough to be no cost (cost.COMPARISONS_MAX)."""
JOINED_CLOCKS_MAX: Final = 8_000
"""Elements and characters: what yrs copies to join single ones grows with it (cost.JOINED_MAX)."""

_KIND_BITS: Final = 0x1F
_DROPPED: Final = frozenset({ANY, BINARY, EMBED, STRING})
"""Content that nobody misses when it is deleted. A shared type may have children, a format ends another one."""


def join(parts: Sequence[tuple[bytes, Usual | None]]) -> list[bytes]:
    """Return valid updates of one author, in their order, joined where each goes on where the one before it ended.

    With each comes what was read of it; one of which that is not known stays alone. Whatever order the results are
    applied in, documents become what the parts would have made of them.
    """
    results: list[bytes] = []
    run = _Run()
    for update, usual in parts:
        if usual is None or _is_child(update, usual.items):
            results += run.encoded()
            results.append(update)
            run = _Run()
        elif not run.took(update, usual):
            results += run.encoded()
            run = _Run()
            run.took(update, usual)
    return results + run.encoded()


def _is_child(update: bytes, items: list[Item]) -> bool:
    """Tell an only item that names its parent, which another part of the run may hold."""
    if len(items) != 1:
        return False
    _, at, _, _ = items[0]
    return not update[at] & (HAS_LEFT | HAS_RIGHT) and not update[at + 1]


class _Run:
    """Updates whose items follow one another."""

    def __init__(self) -> None:
        self._parts: list[tuple[bytes, Usual]] = []
        self._client = -1
        self._begin = self._end = 0
        self._bytes = self._structs = self._deletions = 0

    def took(self, update: bytes, usual: Usual) -> bool:
        """Take an update if it goes on where this run ends, and fits. The first one always does."""
        client, begin, end, items, deletes = usual
        size_bytes = self._bytes + len(update)
        structs = self._structs + len(items)
        deletions = self._deletions
        for intervals in deletes.values():
            deletions += len(intervals)
        fits = size_bytes <= JOINED_BYTES_MAX and max(structs, deletions) <= JOINED_STRUCTS_MAX
        if client >= 0 and self._client >= 0:
            fits &= client == self._client and begin == self._end and end - self._begin <= JOINED_CLOCKS_MAX
        if self._parts and not fits:
            return False
        self._parts.append((update, usual))
        self._bytes, self._structs, self._deletions = size_bytes, structs, deletions
        if client >= 0:
            if self._client < 0:
                self._client, self._begin = client, begin
            self._end = end
        return True

    def encoded(self) -> list[bytes]:
        """Return the run as one update, or none if nothing is in it. One that stands alone stays as it is."""
        if len(self._parts) <= 1:
            return [update for update, _ in self._parts]
        deletes = union(usual.deletes for _, usual in self._parts)
        encoded_deletes = only_deletes(deletes)[1:]
        if self._client < 0:
            return [b"\x00" + encoded_deletes]
        gone = _Gone(deletes.get(self._client, []))
        pieces = [b"\x01", write_varint(self._structs), write_varint(self._client), write_varint(self._begin)]
        for update, usual in self._parts:
            for place, (clock, at, content, behind) in enumerate(usual.items, 1):
                end = usual.items[place][0] if place < len(usual.items) else usual.end
                if update[at] & _KIND_BITS in _DROPPED and gone.has(clock, end):
                    pieces.append(bytes((update[at] & ~_KIND_BITS | DELETED,)))
                    pieces.append(update[at + 1 : content])
                    pieces.append(write_varint(end - clock))
                else:
                    pieces.append(update[at:behind])
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
