"""What one well-formed update may cost whoever integrates it: browsers, bridge and workers (G6) (pure).

Integration is not linear. Measured with pycrdt on one core, in an update that was made for it: 60 KB of items at one
place cost 2 s, 72 KB of an array's single elements 6 s and 3 GB, 1 MB of text split in 6,000 places 5 s, 540 KB of
clients who wait for one another 2 s. Each bound below but the last's keeps its kind at 0.7 s, and counts only what an
editor's own history does not have: who sees what is there and writes beside it costs nothing, however long the history.
Only items that were made at the same place at the same time have to be compared.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from boardlog.errors import InvalidUpdate
from boardlog.links import ANY, GC, HAS_KEY, SKIP, STRING, Link, Links, Ranges, neighbour

FREE_BYTES_MAX = 8 * 1024
"""What is smaller need not be weighed: at its dearest it costs 50 ms and 40 MB."""
STRUCTS_MAX = 2_000_000
"""Structs of one update, and deletions: 64 MB of shapes are a tenth. Each takes up to 1 KB while it is checked."""
CLIENTS_MAX = 50_000
"""Clients of one update: each page load on a board is one. So many who all wait for one another cost 2.6 s."""
COMPARISONS_MAX = 10_000_000
"""Items at one place times the items among which each has to find its own: 70 ns each at their dearest."""
SPLITS_MAX = 20_000
"""How often one update may cut into its own structs. An editor's document is encoded as it was cut: it has none."""
COPIED_BYTES_MAX = 150_000_000
"""What that may copy, each time the whole struct: 3.5 ns a byte at their dearest."""
JOINED_MAX = 400_000_000
"""What joining single characters (2) or elements (80) to their left neighbours may copy: 0.3 s and 230 MB of memory.
An editor's document is encoded as it was joined, and has none."""
_JOINED_WEIGHTS = {STRING: 2, ANY: 80}


class _Container(NamedTuple):
    """A list or the values of a key, by how its first item names it."""

    name: bytes | tuple[int, int]
    """Its item's bytes; where the update does not have that one, the id of what it has not."""
    has_key: bool


_ENDLESS = _Container(b"", has_key=False)
"""That of items that wait for one another: nobody integrates them."""


def check_cost(update: bytes, ranges: Ranges, links: Links) -> None:
    """Raise InvalidUpdate for an update that is too dear to integrate, in time and memory linear in its structs."""
    if len(links) > CLIENTS_MAX:
        raise InvalidUpdate(f"The update is of {len(links)} clients; one may be of {CLIENTS_MAX}: send it in parts.")
    structs = sum(len(chain) - 1 for chain in links.values())
    if structs * structs > COMPARISONS_MAX:
        _check_comparisons(update, links, structs)
    _check_splits(ranges, links)
    _check_joins(update, links)


def _check_comparisons(update: bytes, links: Links, structs: int) -> None:
    """Bound what it takes to order items that have the same left neighbour, or none in the same container."""
    containers = _Containers(update, links)
    disputed = _disputed(links, containers)
    if disputed.total() * structs <= COMPARISONS_MAX:
        return
    sizes = Counter(containers.of(link) for chain in links.values() for link in chain if link.kind not in {GC, SKIP})
    # What hangs on items that are not here may all be in one list.
    outside = sum(size for container, size in sizes.items() if isinstance(container.name, tuple))
    comparisons = sum(
        count * (outside if isinstance(container.name, tuple) else sizes[container])
        for container, count in disputed.items()
    )
    if comparisons > COMPARISONS_MAX:
        raise InvalidUpdate(
            f"{disputed.total()} items of the update claim places that others claim as well: to order them would take "
            f"{comparisons} comparisons, more than {COMPARISONS_MAX}."
        )


def count_disputed(update: bytes, links: Links) -> int:
    """Return how many items claim the same places: each may have to find its own among all that its list holds."""
    return _disputed(links, _Containers(update, links)).total()


def _disputed(links: Links, containers: "_Containers") -> Counter[_Container]:
    disputed: Counter[_Container] = Counter()
    for siblings in _siblings(links, containers):
        if not _is_one_history(siblings):
            disputed[containers.of(siblings[0][1])] += len(siblings)
    return disputed


def _siblings(links: Links, containers: "_Containers") -> Iterator[list[tuple[int, Link]]]:
    """Yield the items, with their clients, that share a left neighbour; those without one, that share a container."""
    first: dict[object, tuple[int, Link]] = {}
    shared: dict[object, list[tuple[int, Link]]] = {}
    for client, chain in links.items():
        for link in chain:
            if link.client >= 0 and not link.is_child:
                place: object = (link.client, link.target)
            elif link.kind in {GC, SKIP}:
                continue
            else:
                place = containers.of(link)
            if place in shared:
                shared[place].append((client, link))
            elif place in first:
                shared[place] = [first[place], (client, link)]
            else:
                first[place] = (client, link)
    yield from shared.values()


def _is_one_history(siblings: list[tuple[int, Link]]) -> bool:
    """Tell whether each was put before the one that came before it, as by one editor who writes at a list's front."""
    own = {(client, link.clock) for client, link in siblings}
    rights = Counter((link.right, link.right_target) for _, link in siblings)
    return sum(rights[right] == 1 and right in own for right in rights) >= len(siblings) - 1


class _Containers:
    """Which container each struct is in."""

    def __init__(self, update: bytes, links: Links) -> None:
        self._update = update
        self._links = links
        self._known: dict[int, _Container] = {}  # of the struct that begins at a byte

    def of(self, link: Link) -> _Container:
        path: list[int] = []
        found = None
        while found is None:
            found = self._known.get(link.at)
            if found is None and (link.is_child or (link.client < 0 and link.right < 0)):
                has_key = bool(self._update[link.at] & HAS_KEY)
                found = _Container(self._update[link.at + 1 : link.content], has_key)
            if found is None:
                self._known[link.at] = _ENDLESS  # until known, and for good where items wait for one another
                path.append(link.at)
                following = neighbour(link, self._links)
                if following is None:
                    outside = (link.right, link.right_target) if link.client < 0 else (link.client, link.target)
                    found = _Container(outside, has_key=False)
                else:
                    link = following
        for at in path:
            self._known[at] = found
        return found


def _check_splits(ranges: Ranges, links: Links) -> None:
    """Bound what it takes to cut structs in whose middle others are put, or deletions begin or end."""
    longs = {client: list(_longs(chain)) for client, chain in links.items()}
    cuts: dict[int, set[int]] = {client: set() for client, structs in longs.items() if structs}
    if not cuts:
        return
    for chain in links.values():
        for link in chain:
            if link.client in cuts and not link.is_child:
                cuts[link.client].add(link.target + 1)
            if link.right in cuts:
                cuts[link.right].add(link.right_target)
    for client in cuts.keys() & ranges.deletes.keys():
        cuts[client].update(clock for interval in ranges.deletes[client] for clock in interval)
    splits = copied_bytes = 0
    for client, clocks in cuts.items():
        ordered = sorted(clocks)
        for begin, end, size_bytes in longs[client]:
            count = bisect_left(ordered, end) - bisect_right(ordered, begin)
            splits += count
            copied_bytes += count * size_bytes
    if splits > SPLITS_MAX or copied_bytes > COPIED_BYTES_MAX:
        raise InvalidUpdate(
            f"The update cuts {splits} times into its own structs, copying {copied_bytes} bytes; it may {SPLITS_MAX} "
            f"times, and {COPIED_BYTES_MAX} bytes."
        )


def _longs(chain: list[Link]) -> Iterator[tuple[int, int, int]]:
    """Yield where each struct that can be cut begins and ends, and its bytes."""
    for link, following in pairwise(chain):
        if following.clock > link.clock + 1 and link.kind not in {GC, SKIP}:
            yield link.clock, following.clock, following.at - link.at


def _check_joins(update: bytes, links: Links) -> None:
    """Bound what it takes to join characters or elements that came one by one, each behind the one before it."""
    copied = 0
    dearest: Link | None = None
    for client, chain in links.items():
        count = 0
        start = chain[0]
        for link, following in pairwise(chain):
            is_behind = (
                link.kind == start.kind
                and link.client == client
                and link.target == link.clock - 1
                and link.right == start.right
                and link.right_target == start.right_target
                and not link.is_child
            )
            if not is_behind:
                count, start = 0, link
            elif link.kind in _JOINED_WEIGHTS:
                count += 1
                copied += _JOINED_WEIGHTS[link.kind] * (following.clock - start.clock)
                dearest = start
    if copied > JOINED_MAX and dearest is not None and not _Containers(update, links).of(dearest).has_key:
        raise InvalidUpdate(
            f"The update brings a text or a list in single steps; joining them would copy {copied} bytes, more than "
            f"{JOINED_MAX}: send it as your document encodes it."
        )
