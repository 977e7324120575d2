"""What a Yjs v1 update must look like before a log takes it (G6), checked in plain Python, without a Doc.

Everything from a client's socket passes through `validate`: it is the hot path of the relay. What it accepts, neither
yjs in a browser nor pycrdt in a service chokes on; bytes that those two read differently are refused as well, for
replicas would part for ever. Only structure is judged: an update may depend on others that have not come yet.

The format is documented by its implementations only: yjs (`src/utils/encoding.js`, `src/structs/`) and lib0
(`decoding.js`). In short, every number being a varint of seven bits a byte, low bits first:

    update  = clients, that many * block, deletes
    block   = structs, client, clock, that many * struct        each struct begins where the one before it ends
    struct  = 0, length                                         GC: content that is gone
            | 10, length                                        Skip: content that this update does not have
            | info, [origin], [right origin], [parent, [key]], content
    deletes = clients, that many * (client, ranges, that many * (clock, length))
"""

from itertools import pairwise
from typing import Final

from boardlog.contents import CLIENT_MAX, CLOCK_MAX, CONTENTS, VALUE_DEPTH_MAX
from boardlog.cost import FREE_BYTES_MAX, STRUCTS_MAX, check_cost
from boardlog.errors import InvalidUpdate
from boardlog.lib0 import read_count, read_varint, skip_text
from boardlog.links import (
    FORMAT,
    GC,
    HAS_KEY,
    HAS_LEFT,
    HAS_RIGHT,
    SKIP,
    Intervals,
    Link,
    Links,
    Ranges,
    is_misplaced,
    neighbour,
)
from boardlog.usual import Usual, read_usual

TYPE_DEPTH_MAX: Final = 256
"""Levels of shared types that one update may build up. Deleting thousands of them overflows the stack in yjs."""

_WITHOUT_CONTENT: Final = frozenset({GC, SKIP})
_KIND_BITS: Final = 0x1F
_HAS_NEIGHBOUR: Final = HAS_LEFT | HAS_RIGHT


def validate(update: bytes, *, depth_max: int = VALUE_DEPTH_MAX, type_depth_max: int = TYPE_DEPTH_MAX) -> Ranges:
    """Return what a well-formed update speaks of, in time and memory linear in its structs.

    Raise InvalidUpdate, saying what is wrong and at which byte, for anything that yjs and pycrdt do not both read in
    the same way: not v1, truncated, trailing bytes, impossible ids, clocks or lengths, unknown content, broken text or
    JSON, values nested deeper than `depth_max` or shared types deeper than `type_depth_max`;
    and for what would be too dear to integrate (`cost.py`).
    """
    said = examine(update, depth_max=depth_max, type_depth_max=type_depth_max)
    return said.ranges if isinstance(said, Usual) else said


def examine(update: bytes, *, depth_max: int = VALUE_DEPTH_MAX, type_depth_max: int = TYPE_DEPTH_MAX) -> Usual | Ranges:
    """Validate an update, and return of a usual one all that was read: `joining` needs it."""
    if len(update) <= FREE_BYTES_MAX and type_depth_max > 0:
        usual = read_usual(update, depth_max)
        if usual is not None:
            return usual
    return validate_walking(update, depth_max, type_depth_max)


def validate_walking(update: bytes, depth_max: int, type_depth_max: int) -> Ranges:
    """Do what `validate` does, also for a usual update: walk all of it, and say what is wrong with it."""
    ranges, links, has_children = _walk(update, depth_max, STRUCTS_MAX)
    if has_children:
        _check_nesting(links, type_depth_max)
    for client, intervals in ranges.deletes.items():
        if any(end > begin for (_, end), (begin, _) in pairwise(intervals)):
            # Every encoder sorts them; yrs loses some when it merges others.
            raise InvalidUpdate(f"The deletions of client {client} are not in ascending order.")
    if len(update) > FREE_BYTES_MAX:
        check_cost(update, ranges, links)
    return ranges


def dissect(update: bytes, structs_max: int | None = None) -> tuple[Ranges, Links]:
    """Return what an update from our own log speaks of, and how it hangs together; that is not judged again.

    Raise InvalidUpdate if it cannot be read, or has more structs, or deletions, than `structs_max`.
    """
    ranges, links, _ = _walk(update, VALUE_DEPTH_MAX, len(update) if structs_max is None else structs_max)
    return ranges, links


def _walk(update: bytes, depth_max: int, structs_max: int) -> tuple[Ranges, Links, bool]:
    try:
        structs, links, has_children, pos = _read_blocks(update, depth_max, structs_max)
        deletes, pos = _read_deletes(update, pos, structs_max)
    except IndexError:
        raise InvalidUpdate(f"The update breaks off: its {len(update)} bytes end inside a value.") from None
    if pos != len(update):
        raise InvalidUpdate(f"The update ends at byte {pos}, but {len(update) - pos} more bytes follow.")
    return Ranges(structs, deletes), links, has_children


def _read_blocks(update: bytes, depth_max: int, structs_max: int) -> tuple[dict[int, Intervals], Links, bool, int]:
    structs: dict[int, Intervals] = {}
    links: Links = {}
    has_children = False
    left = structs_max
    blocks, pos = read_count(update, 0)
    for _ in range(blocks):
        at = pos
        count, pos = read_count(update, pos)
        left = _minus(left, count)
        client, pos = read_varint(update, pos, CLIENT_MAX)
        clock, pos = read_varint(update, pos, CLOCK_MAX)
        if client in structs:
            # yjs keeps the last block, yrs all of them.
            raise InvalidUpdate(f"Client {client} comes a second time at byte {at}.")
        intervals: Intervals = []
        chain: list[Link] = []
        begin = clock
        for _ in range(count):
            link, length, after = _read_struct(update, pos, client, clock, depth_max)
            chain.append(link)
            if link.is_child:
                has_children = True
            elif link.kind == SKIP:
                if clock > begin:
                    intervals.append((begin, clock))
                begin = clock + length
            clock += length
            if not length or clock > CLOCK_MAX:
                raise InvalidUpdate(f"The struct at byte {pos} has no length or ends above clock {CLOCK_MAX}.")
            pos = after
        if clock > begin:
            intervals.append((begin, clock))
        if not intervals:
            raise InvalidUpdate(f"The block of client {client} at byte {at} has no content.")
        chain.append(Link(clock, SKIP, pos, pos))
        structs[client] = intervals
        links[client] = chain
    return structs, links, has_children, pos


def _minus(left: int, count: int) -> int:
    """Return how many more structs or deletions may come, before any of these is read."""
    if count > left:
        raise InvalidUpdate(f"There are {count - left} structs or deletions too many: send them in parts.")
    return left - count


def _read_struct(update: bytes, pos: int, client: int, clock: int, depth_max: int) -> tuple[Link, int, int]:
    """Read a struct: how it hangs in the document, its length and the position behind it."""
    at = pos
    info = update[pos]
    pos += 1
    if info in _WITHOUT_CONTENT:
        length, end = read_varint(update, pos, CLOCK_MAX)
        return Link(clock, info, at, pos), length, end
    kind = info & _KIND_BITS
    read_content = CONTENTS.get(kind)
    if read_content is None:
        raise InvalidUpdate(f"The struct at byte {at} is of kind {kind} with flags {info - kind}, unknown here.")
    if kind == FORMAT and info & HAS_KEY:
        # Of texts alone. Where a value should be, yrs panics as soon as somebody observes the map.
        raise InvalidUpdate(f"The struct at byte {at} is a format under a key.")
    is_child = False
    left, target, right, right_target = -1, 0, -1, 0
    if info & _HAS_NEIGHBOUR:
        if info & HAS_LEFT:
            left, target, pos = _read_id(update, pos, client, clock)
        if info & HAS_RIGHT:
            right, right_target, pos = _read_id(update, pos, client, clock)
    else:
        names_root = update[pos]
        if names_root == 1:
            pos = skip_text(update, pos + 1)
        elif names_root == 0:
            is_child = True
            left, target, pos = _read_id(update, pos + 1, client, clock)
        else:
            raise InvalidUpdate(f"The parent at byte {pos} is neither a root type nor an item.")
        if info & HAS_KEY:
            pos = skip_text(update, pos)
    length, end = read_content(update, pos, depth_max)
    return Link(clock, kind, at, pos, is_child, left, target, right, right_target), length, end


def _read_id(update: bytes, pos: int, client: int, clock: int) -> tuple[int, int, int]:
    """Read the id of another item that an item of this client and clock names."""
    at = pos
    other, pos = read_varint(update, pos, CLIENT_MAX)
    target, pos = read_varint(update, pos, CLOCK_MAX)
    if other == client and target >= clock:
        # yjs looks for its own later items at once and throws; it waits only for those of others.
        raise InvalidUpdate(
            f"Byte {at} names item {target} of client {client}, which is not before item {clock} itself."
        )
    return other, target, pos


def _read_deletes(update: bytes, pos: int, deletes_max: int) -> tuple[dict[int, Intervals], int]:
    deletes: dict[int, Intervals] = {}
    left = deletes_max
    clients, pos = read_count(update, pos)
    for _ in range(clients):
        at = pos
        client, pos = read_varint(update, pos, CLIENT_MAX)
        count, pos = read_count(update, pos)
        left = _minus(left, count)
        if client in deletes:
            raise InvalidUpdate(f"The deletions of client {client} come a second time at byte {at}.")
        ranges: Intervals = []
        for _ in range(count):
            at = pos
            clock, pos = read_varint(update, pos, CLOCK_MAX)
            length, pos = read_varint(update, pos, CLOCK_MAX)
            if length == 0 or clock + length > CLOCK_MAX:
                raise InvalidUpdate(f"The deletion at byte {at} is empty or ends above clock {CLOCK_MAX}.")
            ranges.append((clock, clock + length))
        if not ranges:
            raise InvalidUpdate(f"Client {client} is said to have deletions at byte {at}, but has none.")
        deletes[client] = ranges
    return deletes, pos


def _check_nesting(links: Links, type_depth_max: int) -> None:
    """Raise InvalidUpdate for a child of something that has no children, and for types nested too deeply."""
    depths: dict[int, int] = {}  # of the struct that begins at a byte
    for chain in links.values():
        for start in chain:
            path: list[Link] = []
            link: Link | None = start
            while link is not None and link.at not in depths:
                if is_misplaced(link, links):
                    # yjs makes such an item a tombstone, yrs fails.
                    raise InvalidUpdate(f"The struct at byte {link.at} is a child of one that is not a shared type.")
                depths[link.at] = 0  # until known, and for good where items wait for one another
                path.append(link)
                link = neighbour(link, links)
            depth = depths[link.at] if link else 0
            for step in reversed(path):
                depth += step.is_child
                depths[step.at] = depth
                if depth > type_depth_max:
                    raise InvalidUpdate(
                        f"The struct at byte {step.at} is inside more than {type_depth_max} shared types."
                    )
