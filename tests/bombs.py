"""Valid updates that are dear to integrate, each in a way of its own, and honest ones of the same size.

What one costs, measured with pycrdt, stands in `boardlog/cost.py`.
"""

import random
from collections.abc import Mapping, Sequence

from boardlog.merge import write_varint as varint

ROOT, KEY = b"t", b"k"
Block = tuple[int, int, list[bytes]]


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def text_at(*, left: tuple[int, int] | None = None, right: tuple[int, int] | None = None, text: bytes = b"x") -> bytes:
    """Return an item of text between these neighbours; without any, in the root list."""
    ids = [varint(client) + varint(clock) for client, clock in (side for side in (left, right) if side is not None)]
    flags = 4 | (0x80 if left else 0) | (0x40 if right else 0)
    return bytes([flags]) + (b"".join(ids) or b"\x01" + sized(ROOT)) + sized(text)


def element_at(left: tuple[int, int] | None = None) -> bytes:
    where = b"\x08\x01" + sized(ROOT) if left is None else b"\x88" + varint(left[0]) + varint(left[1])
    return where + b"\x01\x7e"


def value_of(key: bytes, left: tuple[int, int] | None = None, value: bytes = b"\x7e") -> bytes:
    """Return an item that sets a key of the root map, over the item that it has seen there."""
    where = b"\x28\x01" + sized(ROOT) + sized(key) if left is None else b"\x88" + varint(left[0]) + varint(left[1])
    return where + b"\x01" + value


def update_of(blocks: Sequence[Block], deletes: Mapping[int, Sequence[tuple[int, int]]] | None = None) -> bytes:
    data = bytearray(varint(len(blocks)))
    for client, clock, structs in blocks:
        data += varint(len(structs)) + varint(client) + varint(clock) + b"".join(structs)
    deletes = deletes or {}
    data += varint(len(deletes))
    for client, ranges in deletes.items():
        data += varint(client) + varint(len(ranges))
        data += b"".join(varint(clock) + varint(length) for clock, length in ranges)
    return bytes(data)


def one_key(count: int) -> bytes:
    """So many clients set one key, and none has seen another's value."""
    return update_of([(client, 0, [value_of(KEY)]) for client in range(count, 0, -1)])


def one_place(count: int) -> bytes:
    """Two clients put items behind the same one; the second has to pass all of the first's with each of its own."""
    half = count // 2
    first = [text_at(left=(3, 0))] * half + [text_at(left=(3, 1))]
    second = [text_at(left=(1, half))] + [text_at(left=(3, 0))] * half
    return update_of([(3, 0, [text_at(), text_at()]), (2, 0, second), (1, 0, first)])


def one_place_in_parts(parts: int, count: int) -> list[bytes]:
    """As one_place, by one client after another, each in an update of its own, which waits for the one before it."""
    place, last = (parts + 1, 0), (parts + 1, 1)
    updates = [update_of([(*place, [text_at(), text_at()])])]
    for client in range(1, parts + 1):
        updates.append(update_of([(client, 0, [text_at(left=last), *[text_at(left=place)] * count])]))
        last = (client, count)
    return updates


def before_a_chain(count: int) -> bytes:
    """Items that claim to have been first, each before another item of a text that was written from left to right."""
    half = count // 2
    chain = [text_at(), *(text_at(left=(1, clock)) for clock in range(half - 1))]
    return update_of([(2, 0, [text_at(right=(1, clock)) for clock in range(half)]), (1, 0, chain)])


def before_a_subtree(count: int) -> bytes:
    """Items behind one behind which there is a long text already."""
    half = count // 2
    chain = [text_at(left=(3, 0)), *(text_at(left=(1, clock)) for clock in range(half - 1)), text_at(left=(3, 1))]
    later = [text_at(left=(1, half))] + [text_at(left=(3, 0))] * half
    return update_of([(3, 0, [text_at(), text_at()]), (2, 0, later), (1, 0, chain)])


def cut_text(cuts: int, size: int) -> bytes:
    """A text of one item, and items that are put into it from its end to its beginning."""
    into = [text_at(left=(2, size - 2 - cut)) for cut in range(cuts)]
    return update_of([(2, 0, [text_at(text=b"a" * size)]), (1, 0, into)])


def cut_by_deletions(cuts: int, size: int) -> bytes:
    return update_of([(2, 0, [text_at(text=b"a" * size)])], {2: [(2 * cut + 1, 1) for cut in range(cuts)]})


def single_elements(count: int) -> bytes:
    """A list that grew element by element, never joined."""
    return update_of([(1, 0, [element_at(), *(element_at((1, clock)) for clock in range(count))])])


def single_characters(count: int) -> bytes:
    return update_of([(1, 0, [text_at(), *(text_at(left=(1, clock)) for clock in range(count))])])


def many_clients(count: int) -> bytes:
    """Each waits for another."""
    chain = [
        (client, 0, [text_at(left=(client - 1, 0)) if client > 1 else text_at()]) for client in range(1, count + 1)
    ]
    return update_of(chain[::-1])


BOMBS = {
    "one key": one_key(4_000),
    "one place": one_place(5_000),
    "before a chain": before_a_chain(7_000),
    "before a subtree": before_a_subtree(7_000),
    "cut text": cut_text(1_000, 200_000),
    "short text cut often": cut_text(25_000, 30_000),
    "cut by deletions": cut_by_deletions(1_000, 200_000),
    "single elements": single_elements(4_500),
    "single characters": single_characters(30_000),
    "many clients": many_clients(50_001),
}
"""Just above what is allowed."""


def history(keys: int, writes: int, clients: int, size_max: int = 400) -> bytes:
    """The state of a board that so many clients, one after another, have written on, now and then two at once."""
    rng = random.Random(1)
    last: dict[int, list[tuple[int, int]]] = {}
    structs: dict[int, list[bytes]] = {}
    deleted: dict[int, list[tuple[int, int]]] = {}
    for write in range(writes):
        client, key = 1 + write * clients // writes, rng.randrange(keys)
        own = structs.setdefault(client, [])
        before = last.setdefault(key, [])
        left = None if not before else before[-2] if len(before) > 1 and rng.random() < 0.01 else before[-1]
        if before:
            deleted.setdefault(before[-1][0], []).append((before[-1][1], 1))
        own.append(value_of(b"shape:%d" % key, left, value=b"\x77" + sized(b"x" * rng.randrange(size_max))))
        before.append((client, len(own) - 1))
    return update_of(
        [(client, 0, own) for client, own in sorted(structs.items(), reverse=True)],
        {client: sorted(ranges) for client, ranges in deleted.items()},
    )
