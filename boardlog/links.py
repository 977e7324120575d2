"""What an update speaks of, and how its structs hang together (pure)."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

# The kinds of structs.
GC: Final = 0
DELETED: Final = 1
JSON: Final = 2
BINARY: Final = 3
STRING: Final = 4
EMBED: Final = 5
FORMAT: Final = 6
TYPE: Final = 7
ANY: Final = 8
DOC: Final = 9
SKIP: Final = 10

# Flags beside the kind: what stands before the content.
HAS_LEFT: Final = 0x80
HAS_RIGHT: Final = 0x40
HAS_KEY: Final = 0x20

_MAY_BE_PARENTS: Final = frozenset({TYPE, DELETED, GC})  # what was a type may be gone

Intervals: TypeAlias = list[tuple[int, int]]
"""Clocks from the first of each pair up to, not including, the second."""


class Ranges(NamedTuple):
    """What an update speaks of, by client id. Nobody changes the lists."""

    structs: dict[int, Intervals]
    """The clocks of its content, ascending and apart from one another; what it skips is not among them."""
    deletes: dict[int, Intervals]
    """The clocks that its delete set names, in the order of the bytes: they may overlap."""

    @property
    def is_empty(self) -> bool:
        """Whether the update says nothing at all."""
        return not self.structs and not self.deletes

    @property
    def interval_count(self) -> int:
        """How many intervals it takes to say it."""
        return sum(map(len, chain(self.structs.values(), self.deletes.values())))

    def flat(self) -> tuple["Flat", "Flat"]:
        """Return it as it goes through a pipe."""
        return _flat(self.structs), _flat(self.deletes)

    @classmethod
    def of_flat(cls, structs: "Flat", deletes: "Flat") -> "Ranges":
        """Return what went through a pipe."""
        return cls(_pairs(structs), _pairs(deletes))


Flat: TypeAlias = dict[int, Sequence[int]]
"""Intervals by client id, all their ends in one row."""


def _flat(named: dict[int, Intervals]) -> Flat:
    return {client: list(chain.from_iterable(intervals)) for client, intervals in named.items()}


def _pairs(named: Flat) -> dict[int, Intervals]:
    return {client: list(zip(row[::2], row[1::2], strict=True)) for client, row in named.items()}


class Link(NamedTuple):
    """How a struct hangs in the document."""

    clock: int
    kind: int
    at: int
    """The byte where it begins; the next one's is the byte behind it."""
    content: int
    """The byte where its content begins."""
    is_child: bool = False
    """Whether `client` and `target` name its parent; else they name its left neighbour."""
    client: int = -1
    """-1: none. It has the parent that its neighbours have, a root type if it has neither."""
    target: int = 0
    right: int = -1
    """The client of its right neighbour, -1: none."""
    right_target: int = 0


Links: TypeAlias = dict[int, list[Link]]
"""The structs of each client; what it skips counts as one, and one more of no length stands at the end."""
_CLOCK: Final = attrgetter("clock")


def is_misplaced(link: Link, links: Links) -> bool:
    """Tell a child of something that has no children.

    `validate` refuses an update that holds both; spread over two, they meet only in the log.
    """
    if not link.is_child:
        return False
    parent = neighbour(link, links)
    return parent is not None and parent.kind not in _MAY_BE_PARENTS


def neighbour(link: Link, links: Links) -> Link | None:
    """Return the parent of a child or the neighbour that shares its parent, None if the update does not have it."""
    client, target = (link.right, link.right_target) if link.client < 0 else (link.client, link.target)
    chain = links.get(client)
    if chain is None or target < chain[0].clock:
        return None
    found = chain[bisect_right(chain, target, key=_CLOCK) - 1]
    return None if found.kind == SKIP else found
