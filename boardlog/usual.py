"""What most updates are, read without noting how their structs hang together: one client's new items (pure).

A move, a stroke or a typed word is one block of items, and deletions of what they replace. `update.validate` asks here
first; whatever is anything else, or not well-formed, it walks as a whole, and says what is wrong with it. Both give the
same answer: this one is the shorter way to it.
"""

from typing import Final, NamedTuple, TypeAlias

from boardlog.contents import CLIENT_MAX, CLOCK_MAX, CONTENTS, VALUE_DEPTH_MAX
from boardlog.errors import InvalidUpdate
from boardlog.lib0 import read_varint, skip_text, skip_values
from boardlog.links import ANY, FORMAT, HAS_KEY, HAS_LEFT, HAS_RIGHT, Intervals, Ranges

_KIND_BITS: Final = 0x1F
_HAS_NEIGHBOUR: Final = HAS_LEFT | HAS_RIGHT
_ONE_BYTE_MAX: Final = 127


Item: TypeAlias = tuple[int, int, int, int]
"""Where an item stands: its clock, the bytes where it and its content begin, and the byte behind it."""


class Usual(NamedTuple):
    """What a usual update says, and where."""

    client: int
    """-1: it only deletes."""
    begin: int
    """The clock of its first item."""
    end: int
    """The clock behind its last item."""
    items: list[Item]
    deletes: dict[int, Intervals]

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing at all."""
        return self.client < 0 and not self.deletes

    @property
    def ranges(self) -> Ranges:
        """What it speaks of."""
        return Ranges({} if self.client < 0 else {self.client: [(self.begin, self.end)]}, self.deletes)


def read_usual(update: bytes, depth_max: int = VALUE_DEPTH_MAX) -> Usual | None:
    """Return what a usual, well-formed update says, None for any other."""
    items: list[Item] = []
    try:
        if update[0] == 0:
            client, begin, end = -1, 0, 0
            deletes, pos = _read_deletes(update, 1, b"", client)
        elif update[0] == 1:
            client, pos = read_varint(update, 2, CLIENT_MAX)
            own = update[2:pos]
            begin, pos = read_varint(update, pos, CLOCK_MAX)
            end, pos = _read_structs(update, pos, own, client, begin, depth_max, items)
            deletes, pos = _read_deletes(update, pos, own, client)
        else:
            return None
    except (IndexError, KeyError, InvalidUpdate):
        return None
    return Usual(client, begin, end, items, deletes) if pos == len(update) else None


def _read_structs(  # noqa: C901, PLR0912 - the hot loop
    update: bytes, pos: int, own: bytes, client: int, clock: int, depth_max: int, items: list[Item]
) -> tuple[int, int]:
    """Return where the clocks of a block's structs end, and the position behind them. Raise KeyError if not usual."""
    count = update[1]
    if not 0 < count <= _ONE_BYTE_MAX:
        raise KeyError(count)
    for _ in range(count):
        at = pos
        info = update[pos]
        pos += 1
        if info & _HAS_NEIGHBOUR:
            if info & HAS_LEFT:
                pos = _skip_id(update, pos, own, client, clock)
            if info & HAS_RIGHT:
                pos = _skip_id(update, pos, own, client, clock)
        else:
            names_root = update[pos]
            if names_root == 1:
                pos = skip_text(update, pos + 1)
            elif names_root == 0 and count == 1:  # of several, their parents would have to be looked for
                pos = _skip_id(update, pos + 1, own, client, clock)
            else:
                raise KeyError(names_root)
            if info & HAS_KEY:
                pos = skip_text(update, pos)
        kind = info & _KIND_BITS
        content = pos
        if kind == ANY and update[pos] <= _ONE_BYTE_MAX:
            length = update[pos]
            pos = skip_values(update, pos + 1, length, depth_max)
        elif kind == FORMAT and info & HAS_KEY:
            raise KeyError(info)
        else:
            length, pos = CONTENTS[kind](update, pos, depth_max)
        items.append((clock, at, content, pos))
        clock += length
        if not length or clock > CLOCK_MAX:
            raise KeyError(clock)
    return clock, pos


def _skip_id(update: bytes, pos: int, own: bytes, client: int, clock: int) -> int:
    """Return the position behind the id of an item, which, if it is of the same client, must come before `clock`."""
    if update.startswith(own, pos):
        other = client
        pos += len(own)
    else:
        other, pos = read_varint(update, pos, CLIENT_MAX)
    target = update[pos]
    if target <= _ONE_BYTE_MAX:
        pos += 1
    else:
        target, pos = read_varint(update, pos, CLOCK_MAX)
    if other == client and target >= clock:
        raise KeyError(target)
    return pos


def _read_deletes(update: bytes, pos: int, own: bytes, own_client: int) -> tuple[dict[int, Intervals], int]:
    """Return the deletions and the position behind them. Raise KeyError if they are not usual."""
    deletes: dict[int, Intervals] = {}
    clients = update[pos]
    pos += 1
    if clients > _ONE_BYTE_MAX:
        raise KeyError(clients)
    for _ in range(clients):
        if own and update.startswith(own, pos):
            client = own_client
            pos += len(own)
        else:
            client, pos = read_varint(update, pos, CLIENT_MAX)
        count = update[pos]
        pos += 1
        if client in deletes or not 0 < count <= _ONE_BYTE_MAX:
            raise KeyError(client)
        intervals: Intervals = []
        last = 0
        for _ in range(count):
            begin = update[pos]
            if begin <= _ONE_BYTE_MAX:
                pos += 1
            else:
                begin, pos = read_varint(update, pos, CLOCK_MAX)
            length = update[pos]
            if length <= _ONE_BYTE_MAX:
                pos += 1
            else:
                length, pos = read_varint(update, pos, CLOCK_MAX)
            end = begin + length
            if begin < last or not length or end > CLOCK_MAX:
                raise KeyError(begin)
            intervals.append((begin, end))
            last = end
        deletes[client] = intervals
    return deletes, pos
