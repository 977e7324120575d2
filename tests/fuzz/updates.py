"""Updates taken apart, changed where it hurts, and put together again.

Blind changes of bytes are refused nearly always. So most mutants here are changed by meaning: ids, parents, contents,
clocks and deletions of a real update, in bytes that no library would write.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise

from boardlog.contents import CLIENT_MAX, CLOCK_MAX
from boardlog.lib0 import read_varint
from boardlog.update import dissect
from boardlog.wire import write_varuint

GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = range(11)
_KIND, _LEFT, _RIGHT, _KEY = 0x1F, 0x80, 0x40, 0x20
ROOTS = (b"tldraw", b"m", b"a", b"t", b"x", b"other")

Id = tuple[int, int]


def text(data: bytes) -> bytes:
    return write_varuint(len(data)) + data


@dataclass(frozen=True, slots=True)
class Struct:
    """One struct: how it hangs in the document, and its content as encoded."""

    kind: int
    content: bytes
    left: Id | None = None
    right: Id | None = None
    parent: bytes | Id | None = None
    """A root type by name, or an item; None if a neighbour tells."""
    key: bytes | None = None
    length: int = 1

    def encode(self) -> bytes:
        if self.kind in (GC, SKIP):
            return bytes([self.kind]) + self.content
        info = self.kind | (_LEFT * bool(self.left)) | (_RIGHT * bool(self.right)) | (_KEY * (self.key is not None))
        parts = [bytes([info])]
        parts += [write_varuint(number) for id_ in (self.left, self.right) if id_ for number in id_]
        if not self.left and not self.right:
            parent = self.parent if self.parent is not None else b"m"
            if isinstance(parent, bytes):
                parts += [b"\x01", text(parent)]
            else:
                parts += [b"\x00", *map(write_varuint, parent)]
            if self.key is not None:
                parts.append(text(self.key))
        return b"".join([*parts, self.content])


@dataclass(slots=True)
class Parts:
    """An update taken apart."""

    blocks: list[tuple[int, int, list[Struct]]] = field(default_factory=list)
    """Client, clock and structs."""
    deletes: list[tuple[int, list[Id]]] = field(default_factory=list)
    """Client, and clock and length of what is deleted."""

    def encode(self) -> bytes:
        data = [write_varuint(len(self.blocks))]
        for client, clock, structs in self.blocks:
            data += [write_varuint(len(structs)), write_varuint(client), write_varuint(clock)]
            data += [struct.encode() for struct in structs]
        data.append(write_varuint(len(self.deletes)))
        for client, ranges in self.deletes:
            data += [write_varuint(client), write_varuint(len(ranges))]
            data += [write_varuint(number) for range_ in ranges for number in range_]
        return b"".join(data)

    def ids(self) -> list[Id]:
        """Return where its structs begin."""
        found = []
        for client, first, structs in self.blocks:
            clock = first
            for struct in structs:
                found.append((client, clock))
                clock += struct.length
        return found


def parse(update: bytes) -> Parts:
    """Take a valid update apart."""
    ranges, links = dissect(update)
    blocks = []
    for client, chain in links.items():
        structs = [
            _struct(update[link.at : link.content], update[link.content : after.at], after.clock - link.clock)
            for link, after in pairwise(chain)
        ]
        blocks.append((client, chain[0].clock, structs))
    deletes = [(client, [(begin, end - begin) for begin, end in some]) for client, some in ranges.deletes.items()]
    return Parts(blocks, deletes)


def _struct(head: bytes, content: bytes, length: int) -> Struct:
    info, pos = head[0], 1
    if info in (GC, SKIP):
        return Struct(info, content, length=length)
    numbers: list[int] = []

    def id_at(pos: int) -> int:
        for _ in range(2):
            number, pos = read_varint(head, pos, CLIENT_MAX)
            numbers.append(number)
        return pos

    left = right = key = None
    parent: bytes | Id | None = None
    if info & _LEFT:
        pos = id_at(pos)
        left = (numbers[-2], numbers[-1])
    if info & _RIGHT:
        pos = id_at(pos)
        right = (numbers[-2], numbers[-1])
    if not left and not right:
        if head[pos]:
            size, pos = read_varint(head, pos + 1, CLOCK_MAX)
            parent = head[pos : pos + size]
            pos += size
        else:
            pos = id_at(pos + 1)
            parent = (numbers[-2], numbers[-1])
        if info & _KEY:
            size, pos = read_varint(head, pos, CLOCK_MAX)
            key = head[pos : pos + size]
    elif info & _KEY:
        key = b""
    return Struct(info & _KIND, content, left, right, parent, key, length)


# Contents that no editor writes. The length of each is 1 unless it says otherwise.


def _nested(chance: random.Random) -> bytes:
    levels = chance.choice([1, 30, 31, 32, 33, 34, 500, 5000])
    opening, closing = chance.choice([(b"\x75\x01", b""), (b"\x76\x01\x01k", b"")])
    return b"\x01" + opening * levels + b"\x7e" + closing


def _nested_json(chance: random.Random) -> bytes:
    levels = chance.choice([1, 31, 32, 33, 2000])
    return text(b'{"a":' * levels + b"[]" + b"}" * levels)


_JSONS = (
    b"null", b"1", b'"text"', b"[]", b"{}", b"true", b'{"a":1e400}', b"1e308", b"-0", b"18446744073709551615",
    b"9223372036854775808", b'"\\ud83d"', b'"\\ud83d\\ude00"', b'{"__proto__":{"a":1}}', b'{"a":1,"a":2}', b" 1 ",
    b"NaN", b"", b"nul", b'{"constructor":null}', b'"\\u0000"', b"123456789012345678901234567890", b"0.1e-400",
)  # fmt: skip
_KEYS = (
    b"k0",
    b"k1",
    b"__proto__",
    b"constructor",
    b"",
    "é😀".encode(),
    b"bold",
    b"\x00",
    b"\xff",
    b"toString",
    b"x" * 300,
)
_VALUES = (
    b"\x7f", b"\x7e", b"\x79", b"\x78", b"\x7d\x00", b"\x7d\x40", b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x1f",
    b"\x7d\xff\xff\xff\xff\xff\xff\xff\x1f",
    b"\x7c\x7f\xc0\x00\x00", b"\x7b\x7f\xf0\x00\x00\x00\x00\x00\x00", b"\x7b" + bytes(8),
    b"\x7a" + b"\xff" * 8, b"\x7a" + b"\x80" + bytes(7),
    b"\x77\x00", b"\x77\x02\xc3\xa9", b"\x77\x04\xf0\x9f\x98\x80", b"\x77\x03\xed\xa0\xbd",
    b"\x74\x02\xff\x00", b"\x75\x00", b"\x76\x00",
    b"\x76\x02\x01a\x7e\x01a\x78", b"\x76\x01\x09__proto__\x76\x01\x01a\x7e", b"\x77\x03\xef\xbb\xbf",
    b"\x00", b"\x75\xff\xff\xff\xff\x07",
)  # fmt: skip
_TYPES = (
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x03\x01p",
    b"\x03\x00",
    b"\x04",
    b"\x05\x01h",
    b"\x06",
    b"\x07",
    b"\x03\x03a b",
    b"\x03\x08__proto__"[:10],
)
_DOC_OPTIONS = (
    b"\x76\x00", b"\x7e", b"\x7f", b"\x75\x00", b"\x76\x01\x02gc\x79", b"\x76\x01\x08autoLoad\x78",
    b"\x76\x01\x04meta\x76\x00",
    b"\x76\x01\x08clientID\x7e", b"\x76\x01\x09autoload\x77\x01x", b"\x76\x01\x08gcFilter\x7d\x01",
    b"\x76\x01\x04guid\x7d\x05",
)  # fmt: skip
_STRINGS = (
    b"a",
    b"",
    "😀".encode(),
    "a😀b😀c".encode(),
    b"\x00",
    "\ufeff".encode(),
    "é".encode(),
    b"\xed\xa0\xbd",
    b"\xf0\x9f",
    b"x" * 1000,
)


def content(chance: random.Random) -> tuple[int, bytes, int]:
    """Return a kind, an encoded content and its length."""
    pick = chance.choice
    match chance.randrange(11):
        case 0:
            count = chance.randrange(4)
            return ANY, write_varuint(count) + b"".join(pick(_VALUES) for _ in range(count)), count
        case 1:
            return ANY, _nested(chance), 1
        case 2:
            data = pick(_STRINGS)
            return STRING, text(data), len(data.decode(errors="replace").encode("utf-16-le")) // 2
        case 3:
            return EMBED, pick([text(pick(_JSONS)), _nested_json(chance)]), 1
        case 4 | 5:
            return FORMAT, text(pick(_KEYS)) + pick([text(pick(_JSONS)), text(b"null"), _nested_json(chance)]), 1
        case 6 | 7:
            return TYPE, pick(_TYPES), 1
        case 8:
            return DOC, text(pick(_KEYS)) + pick(_DOC_OPTIONS), 1
        case 9:
            length = pick([1, 2, 5, 1000, CLOCK_MAX // 2, CLOCK_MAX])
            return pick([DELETED, GC, SKIP]), write_varuint(length), length
        case _:
            return pick([BINARY, JSON, 11, 31]), text(pick(_STRINGS)), 1


# Mutations. Those by meaning change a Parts in place.


class How(Enum):
    """How far a mutant goes."""

    COHERENT = "coherent"
    """New clients say what a bad editor could: any content, any deletion, with gaps. All readers must read it alike."""
    HUNG = "hung"
    """New clients hang things where they cannot be: between neighbours of different parents, for example."""
    FORGED = "forged"
    """Others are contradicted: the same ids for other things. Whoever comes first has its way."""


class Mutator:
    """Makes mutants of some real updates, driven by a seed."""

    def __init__(self, chance: random.Random, updates: Sequence[bytes]) -> None:
        self._chance = chance
        self._updates = updates
        self._known = sorted({id_ for update in updates for id_ in parse(update).ids()})

    def mutant(self, how: How) -> bytes:
        """Return one mutant."""
        chance = self._chance
        if how is How.FORGED and chance.random() < 0.4:
            data = chance.choice(self._updates)
            for _ in range(chance.randrange(1, 4)):
                data = chance.choice(_BLIND)(chance, data, chance.choice(self._updates))
            return data
        if chance.random() < 0.05:
            return self._bomb()
        parts = parse(chance.choice(self._updates))
        for _ in range(chance.choice([1, 1, 2, 3, 5])):
            chance.choice(self._coherent if how is How.COHERENT else self._by_meaning)(parts)
        if how is not How.FORGED:
            self._become_others(parts)
        return parts.encode()

    def _become_others(self, parts: Parts) -> None:
        """Give every block a client that nobody else is, and let what names an item inside a block follow it."""
        moved = {client: (self._chance.getrandbits(32), clock) for client, clock, _ in parts.blocks}
        shift = self._chance.random() < 0.8

        def to(id_: Id) -> Id:
            client, clock = moved.get(id_[0], (id_[0], CLOCK_MAX + 2))
            return id_ if id_[1] < clock else (client, id_[1] - clock if shift else id_[1])

        for place, (client, clock, structs) in enumerate(parts.blocks):
            parts.blocks[place] = (
                moved[client][0],
                0 if shift else clock,
                [
                    replace(
                        struct,
                        left=struct.left and to(struct.left),
                        right=struct.right and to(struct.right),
                        parent=to(struct.parent) if isinstance(struct.parent, tuple) else struct.parent,
                    )
                    for struct in structs
                ],
            )

    @property
    def _coherent(self) -> list[Callable[[Parts], None]]:
        return [
            self._other_value, self._other_value, self._new_values, self._hold_back, self._delete,
            self._delete_all, self._splice,
        ]  # fmt: skip

    def _other_value(self, parts: Parts) -> None:
        kind, encoded, length = content(self._chance)
        if kind not in (GC, DELETED, SKIP):
            self._change(
                parts,
                lambda struct: (
                    replace(struct, kind=kind, content=encoded)
                    if struct.length == length and struct.kind not in (GC, SKIP)
                    else struct
                ),
            )

    def _new_values(self, parts: Parts) -> None:
        made = []
        for _ in range(self._chance.randrange(1, 4)):
            kind, encoded, length = content(self._chance)
            # Readers part over several values under one key.
            key = self._chance.choice([None, *_KEYS]) if length == 1 else None
            made.append(Struct(kind, encoded, parent=self._chance.choice(ROOTS), key=key, length=length))
        parts.blocks.append((self._chance.getrandbits(40), 0, made))

    def _hold_back(self, parts: Parts) -> None:
        self._change(parts, lambda struct: Struct(SKIP, write_varuint(struct.length), length=struct.length))

    @property
    def _by_meaning(self) -> list[Callable[[Parts], None]]:
        return [
            self._hang_elsewhere, self._hang_elsewhere, self._other_content, self._other_content, self._other_content,
            self._forged, self._forged, self._forged, self._clock, self._client, self._leave_out, self._repeat,
            self._delete, self._delete, self._delete_all, self._splice, self._gap, self._swap_contents,
        ]  # fmt: skip

    def _some_id(self) -> Id:
        chance = self._chance
        if chance.random() < 0.8 and self._known:
            client, clock = chance.choice(self._known)
            return client, max(0, clock + chance.choice([0, 0, 0, 1, -1, 2]))
        client = chance.choice([0, 1, 7, 2**32 - 1, CLIENT_MAX, CLIENT_MAX + 1])
        return client, chance.choice([0, 1, 5, CLOCK_MAX - 1, CLOCK_MAX, CLOCK_MAX + 1])

    def _at(self, parts: Parts) -> tuple[int, int] | None:
        blocks = [place for place, (_, _, structs) in enumerate(parts.blocks) if structs]
        if not blocks:
            return None
        block = self._chance.choice(blocks)
        return block, self._chance.randrange(len(parts.blocks[block][2]))

    def _change(self, parts: Parts, change: Callable[[Struct], Struct]) -> None:
        if (at := self._at(parts)) is not None:
            structs = parts.blocks[at[0]][2]
            structs[at[1]] = change(structs[at[1]])

    def _hang_elsewhere(self, parts: Parts) -> None:
        self._change(parts, self._hung)

    def _hung(self, struct: Struct) -> Struct:
        chance = self._chance
        match chance.randrange(4):
            case 0:
                return replace(struct, left=self._some_id(), right=chance.choice([None, struct.right, self._some_id()]))
            case 1:
                return replace(struct, right=self._some_id(), left=chance.choice([None, struct.left]))
            case 2:
                parent = chance.choice([chance.choice(ROOTS), self._some_id()])
                return replace(struct, left=None, right=None, parent=parent)
            case _:
                parent = chance.choice([chance.choice(ROOTS), self._some_id()])
                return replace(struct, left=None, right=None, parent=parent, key=chance.choice([None, *_KEYS]))

    def _other_content(self, parts: Parts) -> None:
        kind, encoded, length = content(self._chance)
        self._change(parts, lambda struct: replace(struct, kind=kind, content=encoded, length=length))

    def _forged(self, parts: Parts) -> None:
        """Add what is made up, behind a block or as a block of its own."""
        made = []
        for _ in range(self._chance.randrange(1, 4)):
            kind, encoded, length = content(self._chance)
            made.append(self._hung(Struct(kind, encoded, length=length)))
        if self._chance.random() < 0.5 and parts.blocks:
            self._chance.choice(parts.blocks)[2].extend(made)
        else:
            client, clock = self._some_id()
            clock = 0 if self._chance.random() < 0.7 else clock
            parts.blocks.append((self._chance.choice([client, self._chance.getrandbits(32)]), clock, made))

    def _swap_contents(self, parts: Parts) -> None:
        one, other = self._at(parts), self._at(parts)
        if one is None or other is None:
            return
        a, b = parts.blocks[one[0]][2][one[1]], parts.blocks[other[0]][2][other[1]]
        parts.blocks[one[0]][2][one[1]] = replace(a, kind=b.kind, content=b.content, length=b.length)
        parts.blocks[other[0]][2][other[1]] = replace(b, kind=a.kind, content=a.content, length=a.length)

    def _clock(self, parts: Parts) -> None:
        if parts.blocks:
            place = self._chance.randrange(len(parts.blocks))
            client, clock, structs = parts.blocks[place]
            clock = self._chance.choice([0, clock + 1, max(0, clock - 1), clock + 1000, CLOCK_MAX - 3, CLOCK_MAX])
            parts.blocks[place] = client, clock, structs

    def _client(self, parts: Parts) -> None:
        if parts.blocks:
            place = self._chance.randrange(len(parts.blocks))
            parts.blocks[place] = self._some_id()[0], *parts.blocks[place][1:]

    def _leave_out(self, parts: Parts) -> None:
        if (at := self._at(parts)) is not None:
            del parts.blocks[at[0]][2][at[1]]

    def _repeat(self, parts: Parts) -> None:
        if (at := self._at(parts)) is not None:
            structs = parts.blocks[at[0]][2]
            structs.insert(self._chance.randrange(len(structs) + 1), structs[at[1]])

    def _gap(self, parts: Parts) -> None:
        if (at := self._at(parts)) is not None:
            length = self._chance.choice([1, 3, 10_000, CLOCK_MAX - 100])
            parts.blocks[at[0]][2].insert(at[1], Struct(SKIP, write_varuint(length), length=length))

    def _delete(self, parts: Parts) -> None:
        client, clock = self._some_id()
        ranges = []
        for _ in range(self._chance.randrange(1, 5)):
            length = self._chance.choice([0, 1, 1, 2, 3, 10, 5000, max(0, CLOCK_MAX - clock), CLOCK_MAX])
            ranges.append((clock, length))
            clock += self._chance.choice([0, length, length + 1, 1, -clock])
        if self._chance.random() < 0.7:
            parts.deletes = [one for one in parts.deletes if one[0] != client]
        parts.deletes.append((client, ranges))

    def _delete_all(self, parts: Parts) -> None:
        clients = {client for client, _ in self._known}
        parts.deletes = [(client, [(0, self._chance.choice([1, 3, 50, CLOCK_MAX]))]) for client in sorted(clients)]

    def _splice(self, parts: Parts) -> None:
        other = parse(self._chance.choice(self._updates))
        there = {client for client, _, _ in parts.blocks}
        parts.blocks += [block for block in other.blocks if block[0] not in there or self._chance.random() < 0.1]
        self._chance.shuffle(parts.blocks)

    def _bomb(self) -> bytes:
        """Return types inside types inside types, or many of something, sometimes deleted in the same breath."""
        chance = self._chance
        levels = chance.choice([200, 255, 256, 257, 258, 3000])
        client = chance.getrandbits(32)
        kinds = [chance.choice([b"\x00", b"\x01", b"\x02", b"\x04"]) for _ in range(3)]
        structs = [Struct(TYPE, kinds[0], parent=b"m", key=b"k0")]
        structs += [
            Struct(TYPE, kinds[level % 3], parent=(client, level), key=chance.choice([None, b"k"]))
            for level in range(levels)
        ]
        if chance.random() < 0.3:
            structs = [Struct(FORMAT, text(b"b%d" % n) + text(b"1"), parent=b"t") for n in range(levels)]
        deletes = [(client, [(0, levels)])] if chance.random() < 0.5 else []
        return Parts([(client, 0, structs)], deletes).encode()


def _flip(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _cut(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return (data[:begin] + data[end:]) or b"\x00"


def _insert(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.randrange(1, 5)) + data[at:]


def _twice(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    begin, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[begin:end] * chance.randrange(1, 4) + data[end:]


def _halves(chance: random.Random, data: bytes, other: bytes) -> bytes:
    return (data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other)) :]) or b"\x00"


def _number(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    """Put another number where one may stand."""
    at = chance.randrange(len(data))
    number = chance.choice([0, 1, 127, 128, CLOCK_MAX, CLOCK_MAX + 1, 2**32, CLIENT_MAX, CLIENT_MAX + 1, 2**63])
    return data[:at] + write_varuint(number) + data[at + 1 :]


_BLIND = (_flip, _cut, _insert, _twice, _halves, _number)
