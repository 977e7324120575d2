"""Folding updates into one state without losing anything, and what a peer lacks of such a state (G3).

A `Doc` alone will not do: where something has not come yet, pycrdt drops deletions and content, integrates what lies
behind a gap as if there were none, and may leave an update unintegrated though everything came. `merge_updates` alone
loses nothing, but is quadratic and keeps all that was ever overwritten. So a Doc folds what has all that it depends on,
which is mostly everything; the rest is kept beside it, as encoded.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, NamedTuple

from pycrdt import Doc, get_update, merge_updates

from boardlog.contents import CLIENT_MAX, CLOCK_MAX
from boardlog.errors import InvalidUpdate
from boardlog.lib0 import read_count, read_text, read_varint
from boardlog.links import SKIP, STRING, Intervals, Link, Links, Ranges, is_misplaced
from boardlog.update import dissect

EMPTY_UPDATE = b"\x00\x00"
"""An update that says nothing: no content, no deletions."""
EMPTY_STATE_VECTOR = b"\x00"
"""The state vector of a document without content."""

_MERGED_AT_ONCE = 8
"""merge_updates is quadratic in how many it is given, so many are merged in rounds of a few."""

_LONG_CHARACTER = re.compile(rb"[\xf0-\xf4][\x80-\xbf]{3}")
_SHORT_MAX = 0xFFFF
_TWO_HALVES = "\ufffd\ufffd"


@dataclass(frozen=True, slots=True)
class Folded:
    """One state made of many updates."""

    state: bytes
    """A v1 update with all content and deletions, those included that wait for others still to come."""
    state_vector: bytes
    """What is integrated, and so what nobody need send."""
    rejected: list[int]
    """The places in `updates` of those that cannot be applied: nothing of them is in the state."""


class Part(NamedTuple):
    """An update, read."""

    place: int
    update: bytes
    ranges: Ranges
    links: Links


class Panicked(Exception):
    """pycrdt panicked on the update at this place."""

    def __init__(self, place: int) -> None:
        """Name the place."""
        super().__init__(place)
        self.place = place


def fold(base: bytes, updates: Sequence[bytes]) -> Folded:
    """Return one state with everything that `base` and the updates say, in time linear in their bytes (G3).

    The order of the updates and repeated ones make no difference, but to forgers: what contradicts the base, or an
    earlier update that had all that it depends on, is without effect, as it is in yjs. Those that cannot be read, or on
    which pycrdt panics (one more round for each), are left out and named in the result, for the quarantine (G6, L7):
    `validate` keeps them outside. Raise InvalidUpdate if the base is at fault. It holds the GIL: call it in another
    process.
    """
    parts: list[Part] = []
    for place, update in enumerate(updates):
        with suppress(InvalidUpdate):
            parts.append(Part(place, update, *dissect(update)))
    while True:
        try:
            state, vector = _fold(*_without_halved(base, parts))
        except Panicked as error:
            parts = [part for part in parts if part.place != error.place]
        except BaseException as error:
            if isinstance(error, (ValueError, RuntimeError)) or is_panic(error):
                raise InvalidUpdate(f"The board's stored state cannot be folded: {error}") from error
            raise
        else:
            kept = {part.place for part in parts}
            return Folded(state, vector, [place for place in range(len(updates)) if place not in kept])


def difference(state: bytes, state_vector: bytes) -> bytes:
    """Return what a peer with this state vector lacks of an encoded state: pending content and all deletions included.

    Raise InvalidUpdate if the peer's vector is not one.
    """
    parse_state_vector(state_vector)
    missing: bytes = get_update(state, state_vector)
    return missing


def write_varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    data.append(number)
    return bytes(data)


def parse_state_vector(data: bytes) -> dict[int, int]:
    """Return the clock up to which a peer has everything, by client id.

    Raise InvalidUpdate for anything but exactly one well-formed state vector that names each client once.
    """
    vector: dict[int, int] = {}
    try:
        count, pos = read_count(data, 0)
        for _ in range(count):
            client, pos = read_varint(data, pos, CLIENT_MAX)
            if client in vector:
                raise InvalidUpdate(f"The state vector names client {client} twice.")
            vector[client], pos = read_varint(data, pos, CLOCK_MAX)
    except IndexError:
        raise InvalidUpdate(f"The state vector breaks off: its {len(data)} bytes end inside a number.") from None
    if pos != len(data):
        raise InvalidUpdate(f"The state vector ends at byte {pos}, but {len(data) - pos} more bytes follow.")
    return vector


def is_panic(error: BaseException) -> bool:
    """Tell a panic of Rust code, a BaseException of no importable type, from a KeyboardInterrupt and its like."""
    return type(error).__module__ == "pyo3_runtime"


def _fold(base: bytes, parts: list[Part]) -> tuple[bytes, bytes]:
    """Return the state and its vector.

    A Doc is never given anything before what it depends on: besides what it gets wrong then, contradicting updates of a
    forger have crashed it, and the process with it. A log mostly has everything in order (G1); the rest waits.
    """
    doc, rest = _begin(base)
    clocks = parse_state_vector(doc.get_state())
    waiting = [rest, *(part.update for part in parts if not apply_next(doc, clocks, part))]
    vector = doc.get_state()
    pending = integrate(doc, merge_all(get_update(update, vector) for update in waiting), clocks)
    # All deletions once more: some may have come before what they delete, and may still wait for it.
    deletes = union([dissect(rest)[0].deletes, *(part.ranges.deletes for part in parts)])
    doc.apply_update(only_deletes(deletes))
    vector = doc.get_state()
    late = beyond(deletes, vector)
    if not pending[0] and not late:
        return doc.get_update(), vector
    return merge_all([doc.get_update(), pending, only_deletes(late)]), vector


def _begin(base: bytes) -> tuple[Doc[Any], bytes]:
    """Return a document of what is integrated in a state, and what waits in it, with all its deletions."""
    doc: Doc[Any] = Doc()
    doc.apply_update(base)
    rest = get_update(base, doc.get_state())
    if rest[0]:
        _, links = dissect(base)
        counts, _ = advance({}, links)
        doc = Doc()
        doc.apply_update(_cut(base, links, counts))
        rest = get_update(base, doc.get_state())
    return doc, rest


def apply_next(doc: Doc[Any], clocks: dict[int, int], part: Part) -> bool:
    """Apply an update and advance the clocks, or return False if anything of it has to wait."""
    counts, reached = advance(clocks, part.links)
    if any(counts[client] < len(chain) - 1 for client, chain in part.links.items()):
        return False
    try:
        doc.apply_update(part.update)
    except RuntimeError:  # an item whose parent has no children: it is there up to that one
        clocks.update(parse_state_vector(doc.get_state()))
        return False
    except BaseException as error:
        if is_panic(error):
            raise Panicked(part.place) from error
        raise
    clocks.update(reached)
    return True


def integrate(doc: Doc[Any], pending: bytes, clocks: dict[int, int]) -> bytes:
    """Apply of what waited what has all that it depends on; return the rest."""
    _, links = dissect(pending)
    if any(link.is_child for chain in links.values() for link in chain):
        _, all_links = dissect(merge_all([doc.get_update(), pending]))
        pending = _bury(pending, links, all_links)
        _, links = dissect(pending)
    counts, _ = advance(clocks, links)
    doc.apply_update(_cut(pending, links, counts))
    rest: bytes = get_update(pending, doc.get_state())
    return rest


def _bury(update: bytes, links: Links, all_links: Links) -> bytes:
    """Put tombstones in the place of items whose parents have no children, as yjs does when it integrates them.

    A hostile item can wait for somebody else's next one and name it as its parent: pycrdt would fail on that one.
    """
    pairs = [pair for chain in links.values() for pair in pairwise(chain) if is_misplaced(pair[0], all_links)]
    parts = []
    kept = 0
    for link, following in sorted(pairs, key=lambda pair: pair[0].at):
        parts += [update[kept : link.at], b"\x00", write_varint(following.clock - link.clock)]
        kept = following.at
    return b"".join([*parts, update[kept:]])


def _without_halved(base: bytes, parts: list[Part]) -> tuple[bytes, list[Part]]:
    """Write each character that was cut in half as yjs does: as two replacement characters.

    JavaScript counts a character beyond the first 65,536 as two, and can delete or insert in its middle. pycrdt cannot,
    miscounts from there on, and would lose what follows, a little more each time that the state is folded.
    """
    if not any(_LONG_CHARACTER.search(update) for update in (base, *(part.update for part in parts))):
        return base, parts
    everything = [Part(-1, base, *dissect(base)), *parts]
    middles: dict[int, set[int]] = {}
    for part in everything:
        for client, link, text in _long_texts(part):
            middles.setdefault(client, set()).update(clock for clock, _ in _middles(link.clock, text))
    halved: dict[int, set[int]] = {}
    for part in everything if middles else ():
        for client, clock in _cuts(part):
            if clock in middles.get(client, ()):
                halved.setdefault(client, set()).add(clock)
    if not halved:
        return base, parts
    base, *updates = [_halve(part, halved) for part in everything]
    rewritten = [Part(part.place, update, *dissect(update)) for part, update in zip(parts, updates, strict=True)]
    return base, rewritten


def _long_texts(part: Part) -> Iterator[tuple[int, Link, str]]:
    """Yield client, struct and text of all that has long characters, in the order of the bytes."""
    for client, chain in part.links.items():
        for link, following in pairwise(chain):
            if link.kind == STRING and _LONG_CHARACTER.search(part.update, link.content, following.at):
                yield client, link, read_text(part.update, link.content)[0]


def _middles(clock: int, text: str) -> Iterator[tuple[int, int]]:
    """Yield the clock of each long character's second half, and its place in the text, which begins at `clock`."""
    for place, character in enumerate(text):
        clock += 1
        if ord(character) > _SHORT_MAX:
            yield clock, place
            clock += 1


def _cuts(part: Part) -> Iterator[tuple[int, int]]:
    """Yield client and clock of wherever a struct begins, a deletion begins or ends, or something is put in between."""
    for client, chain in part.links.items():
        for link in chain:
            yield client, link.clock
            yield link.client, link.target + 1
            yield link.right, link.right_target
    for client, intervals in part.ranges.deletes.items():
        for begin, end in intervals:
            yield client, begin
            yield client, end


def _halve(part: Part, halved: dict[int, set[int]]) -> bytes:
    update = part.update
    parts = []
    kept = 0
    for client, link, text in _long_texts(part):
        characters = list(text)
        for clock, place in _middles(link.clock, text):
            if clock in halved.get(client, ()):
                characters[place] = _TWO_HALVES
        encoded = "".join(characters).encode()
        parts += [update[kept : link.content], write_varint(len(encoded)), encoded]
        kept = read_text(update, link.content)[1]
    return b"".join([*parts, update[kept:]])


def advance(clocks: dict[int, int], links: Links) -> tuple[dict[int, int], dict[int, int]]:
    """Find what only depends on itself and on what is there up to these clocks.

    Return how many structs that are of each client, from the first on, and the clock which they reach.
    """
    counts = dict.fromkeys(links, 0)
    reached = {client: clocks.get(client, 0) for client in links}
    waiting: dict[int, list[tuple[int, int]]] = {}  # by the client waited for, a heap of (its clock, who waits)
    ready = list(links)
    while ready:
        client = ready.pop()
        chain = links[client]
        while (link := chain[counts[client]]).kind != SKIP and link.clock <= reached[client]:
            blocker = _blocker(link, reached, clocks)
            if blocker is not None:
                heappush(waiting.setdefault(blocker[0], []), (blocker[1], client))
                break
            counts[client] += 1
            reached[client] = max(reached[client], chain[counts[client]].clock)
        waiters = waiting.get(client, [])
        while waiters and waiters[0][0] < reached[client]:
            ready.append(heappop(waiters)[1])
    return counts, reached


def _blocker(link: Link, reached: dict[int, int], clocks: dict[int, int]) -> tuple[int, int] | None:
    """Return the client and clock that an item has to wait for, if any."""
    for client, target in ((link.client, link.target), (link.right, link.right_target)):
        if client >= 0 and target >= (reached[client] if client in reached else clocks.get(client, 0)):
            return client, target
    return None


def _cut(update: bytes, links: Links, counts: dict[int, int]) -> bytes:
    """Encode the first so many structs of each client, without deletions."""
    blocks = []
    for client, count in counts.items():
        if count:
            first, behind = links[client][0], links[client][count]
            head = write_varint(count) + write_varint(client) + write_varint(first.clock)
            blocks.append(head + update[first.at : behind.at])
    return write_varint(len(blocks)) + b"".join(blocks) + b"\x00"


def merge_all(updates: Iterable[bytes]) -> bytes:
    """Return one update that says what all of them say."""
    parts = list(updates)
    while len(parts) > 1:
        parts = [merge_updates(*parts[at : at + _MERGED_AT_ONCE]) for at in range(0, len(parts), _MERGED_AT_ONCE)]
    return parts[0] if parts else EMPTY_UPDATE


def beyond(deletes: dict[int, Intervals], vector: bytes) -> dict[int, Intervals]:
    """Return the deletions of what is not integrated yet, which a Doc drops when it is encoded."""
    clocks = parse_state_vector(vector)
    late = {
        client: [(max(begin, clocks.get(client, 0)), end) for begin, end in intervals if end > clocks.get(client, 0)]
        for client, intervals in deletes.items()
    }
    return {client: intervals for client, intervals in late.items() if intervals}


def union(named: Iterable[dict[int, Intervals]]) -> dict[int, Intervals]:
    """Return the same clocks in ascending order, in intervals that do not touch: yrs loses some of others."""
    joint: dict[int, Intervals] = {}
    for deletes in named:
        for client, intervals in deletes.items():
            joint.setdefault(client, []).extend(intervals)
    for client, intervals in joint.items():
        joined: Intervals = []
        for begin, end in sorted(intervals):
            if joined and begin <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((begin, end))
        joint[client] = joined
    return joint


def only_deletes(deletes: dict[int, Intervals]) -> bytes:
    """Encode an update that has no content and deletes these."""
    data = bytearray(b"\x00" + write_varint(len(deletes)))
    for client, intervals in deletes.items():
        data += write_varint(client) + write_varint(len(intervals))
        for begin, end in intervals:
            data += write_varint(begin) + write_varint(end - begin)
    return bytes(data)
