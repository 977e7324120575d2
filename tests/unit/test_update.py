"""What `validate` takes and refuses. Case by case, what it refuses made yjs 13.6 or pycrdt 0.14 throw, or part (G6)."""

import random
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, get_state, get_update, merge_updates

from boardlog.contents import CLIENT_MAX, CLOCK_MAX, VALUE_DEPTH_MAX
from boardlog.errors import InvalidUpdate
from boardlog.links import Ranges
from boardlog.merge import EMPTY_UPDATE
from boardlog.update import TYPE_DEPTH_MAX, dissect, validate_walking
from boardlog.update import validate as validate_quickly

THOROUGH = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


def validate(data: bytes, *, depth_max: int = VALUE_DEPTH_MAX, type_depth_max: int = TYPE_DEPTH_MAX) -> Ranges:
    """Validate both ways, the short one for usual updates and the whole walk: they must agree on every input."""
    try:
        walked = validate_walking(data, depth_max, type_depth_max)
    except InvalidUpdate as refused:
        with pytest.raises(InvalidUpdate, match=re.escape(str(refused))):
            validate_quickly(data, depth_max=depth_max, type_depth_max=type_depth_max)
        raise
    assert validate_quickly(data, depth_max=depth_max, type_depth_max=type_depth_max) == walked
    return walked


# A hand-written encoder, which can write what no library would.


def varint(number: int) -> bytes:
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return varint(len(data)) + data


def deletes(*clients: tuple[int, list[tuple[int, int]]]) -> bytes:
    data = varint(len(clients))
    for client, ranges in clients:
        data += varint(client) + varint(len(ranges))
        data += b"".join(varint(begin) + varint(length) for begin, length in ranges)
    return data


def update(*blocks: tuple[int, int, list[bytes]], deleted: bytes = b"\x00") -> bytes:
    data = varint(len(blocks))
    for client, clock, structs in blocks:
        data += varint(len(structs)) + varint(client) + varint(clock) + b"".join(structs)
    return data + deleted


def item_id(client: int, clock: int) -> bytes:
    return varint(client) + varint(clock)


def in_root(kind: int, content: bytes, *, root: str = "m", key: str | None = None) -> bytes:
    flags = 0 if key is None else 0x20
    return bytes([kind | flags]) + b"\x01" + string(root) + (b"" if key is None else string(key)) + content


def in_item(kind: int, content: bytes, parent: tuple[int, int], key: str | None = None) -> bytes:
    flags = 0 if key is None else 0x20
    return bytes([kind | flags]) + b"\x00" + item_id(*parent) + (b"" if key is None else string(key)) + content


def right_of(kind: int, content: bytes, left: tuple[int, int]) -> bytes:
    return bytes([kind | 0x80]) + item_id(*left) + content


def left_of(kind: int, content: bytes, right: tuple[int, int]) -> bytes:
    return bytes([kind | 0x40]) + item_id(*right) + content


def values(*encoded: bytes) -> bytes:
    return varint(len(encoded)) + b"".join(encoded)


def text_value(text: str | bytes) -> bytes:
    return b"\x77" + string(text)


DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = range(1, 11)
VALUE = in_root(ANY, values(text_value("a")), key="k")
MAP, ARRAY = b"\x01", b"\x00"


def one(struct: bytes) -> bytes:
    return update((7, 0, [struct]))


# Real updates


def real_session(rng: random.Random, *, steps: int = 25, nested: bool = True) -> tuple[list[bytes], list["Doc[Any]"]]:
    """Let three documents edit at once and exchange some of it; return all updates as they were made, and the three."""
    updates: list[bytes] = []
    made: list[bytes] = []
    docs: list[Doc[Any]] = []
    for number in range(3):
        doc: Doc[Any] = Doc(client_id=rng.choice([number + 1, rng.getrandbits(32) | 1, rng.getrandbits(53) | 1]))
        doc.observe(lambda event: made.append(event.update))
        docs.append(doc)
    seen = [0] * len(docs)
    for _ in range(steps):
        number = rng.randrange(len(docs))
        doc = docs[number]
        if rng.random() < 0.6:
            for known in updates[seen[number] :]:
                doc.apply_update(known)
            seen[number] = len(updates)
        made.clear()
        with doc.transaction():
            for _ in range(rng.randrange(1, 4)):
                _edit(rng, doc, nested)
        updates += made
    return updates, docs


def _edit(rng: random.Random, doc: "Doc[Any]", nested: bool) -> None:
    records, things, text = doc.get("m", type=Map), doc.get("a", type=Array), doc.get("t", type=Text)
    value = rng.choice(
        [1, -70000, 2.5, 2**40, True, None, "é😀" * rng.randrange(4), "y" * 200, {"a": [1, {"b": "c"}]}, b"\xff"]
    )
    match rng.randrange(9 if nested else 7):
        case 0 | 1:
            records[f"k{rng.randrange(6)}"] = value
        case 2 if len(records):
            del records[rng.choice(sorted(records.keys()))]
        case 3:
            things.insert(rng.randrange(len(things) + 1), value)
        case 4 if len(things):
            del things[rng.randrange(len(things))]
        case 5:
            text.insert(0, rng.choice(["abc", "hello world"]))
            text.format(0, 1, {"bold": rng.choice([True, None])})
        case 6 if len(text):
            del text[0:1]
        case 7:
            inner = records.get("n")
            if isinstance(inner, Map):
                inner[f"i{rng.randrange(3)}"] = rng.choice([1, Map({"q": 1}), Text("deep"), Array([1, 2])])
            else:
                records["n"] = Map({"a": 1})
        case 8:
            text.insert_embed(0, {"image": "x"})


def joined(named: Iterable[dict[int, list[tuple[int, int]]]]) -> dict[int, set[int]]:
    """Every single clock, for comparisons."""
    clocks: dict[int, set[int]] = {}
    for intervals_of in named:
        for client, intervals in intervals_of.items():
            clocks.setdefault(client, set()).update(c for begin, end in intervals for c in range(begin, end))
    return clocks


# From yjs 13.6.33: XML, texts with formats and embeds, bytes, a subdocument, nested types, undefined and a bigint.
YJS_STATE = bytes.fromhex(
    "0110effdb6f50d000701017803017087effdb6f50d00060400effdb6f50d0102686908010161037d017706c3a9f09f98807e"
    "83effdb6f50d0601ff88effdb6f50d07017601017175037c3fc000007df0c5087c5380000004010174016184effdb6f50d09"
    "05f09f988062c5effdb6f50d09effdb6f50d0a077b2269223a317d46effdb6f50d0901620474727565c6effdb6f50d09effd"
    "b6f50d0d0162046e756c6c2901016d0173016776002701016d016e012700effdb6f50d11017a002101016d0175012801016d"
    "0162017a000000000000000a01effdb6f50d011301"
)
YJS_CLIENT = 0xDEADBEEF
YJS_V2 = [
    "000001010000012805026d6b41000101000101010100760101617d0100",
    "00020002024102030003000007060081008400860f0a74626f6c6462626f6c64010401040101000101010400787e0101010100",
    "00000000000001000000000000",
]


@pytest.mark.parametrize(
    ("data", "structs"),
    [
        (EMPTY_UPDATE, {}),
        (one(VALUE), {7: [(0, 1)]}),
        (update((CLIENT_MAX, CLOCK_MAX - 1, [b"\x00\x01"])), {CLIENT_MAX: [(CLOCK_MAX - 1, CLOCK_MAX)]}),
        (one(in_root(STRING, string("a😀é"))), {7: [(0, 4)]}),
        (one(in_root(STRING, string("\ufeff\x00"))), {7: [(0, 2)]}),
        (one(in_root(ANY, values(*[b"\x7f"] * 130))), {7: [(0, 130)]}),
        (one(in_root(DELETED, varint(1000))), {7: [(0, 1000)]}),
        (update((7, 3, [VALUE, b"\x0a\x05", VALUE])), {7: [(3, 4), (9, 10)]}),
        (update((7, 0, [b"\x0a\x05", VALUE])), {7: [(5, 6)]}),
        (update((9, 0, [VALUE]), (7, 4, [VALUE])), {9: [(0, 1)], 7: [(4, 5)]}),
        (one(in_root(BINARY, string(b"\xff\xfe"))), {7: [(0, 1)]}),
        (one(in_root(FORMAT, string("bold") + string("null"))), {7: [(0, 1)]}),
        (one(in_root(DOC, string("guid") + b"\x76\x00")), {7: [(0, 1)]}),
        (one(in_root(TYPE, b"\x03" + string("p"))), {7: [(0, 1)]}),
        (one(right_of(ANY, values(b"\x7e"), (8, 5))), {7: [(0, 1)]}),
        (one(in_item(ANY, values(b"\x7e"), (8, 5), "k")), {7: [(0, 1)]}),
        (update((7, 0, [in_root(TYPE, MAP), in_item(ANY, values(b"\x7e"), (7, 0), "k")])), {7: [(0, 2)]}),
        (update((7, 0, [in_root(DELETED, b"\x01"), in_item(ANY, values(b"\x7e"), (7, 0), "k")])), {7: [(0, 2)]}),
        (update((7, 0, [VALUE, bytes([ANY | 0xE0]) + item_id(7, 0) + item_id(8, 0) + values(b"\x7e")])), {7: [(0, 2)]}),
    ],
)
def test_G6_takes_what_encoders_write(data: bytes, structs: dict[int, list[tuple[int, int]]]) -> None:
    assert validate(data) == Ranges(structs, {})
    assert validate(data).is_empty == (not structs)


def test_G6_takes_every_kind_of_content_of_yjs() -> None:
    ranges = validate(YJS_STATE)
    assert ranges.structs == {YJS_CLIENT: [(0, 21)]}
    assert ranges.deletes


def test_reads_deletions() -> None:
    data = update(deleted=deletes((7, [(0, 3), (3, 1), (9, 2)]), (5, [(1, 1)])))
    assert validate(data) == Ranges({}, {7: [(0, 3), (3, 4), (9, 11)], 5: [(1, 2)]})
    assert not validate(data).is_empty


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "breaks off"),
    "trailing bytes": (one(VALUE) + b"\x00", "1 more bytes follow"),
    "client twice": (update((7, 0, [VALUE]), (7, 1, [VALUE])), "second time"),
    "block without structs": (update((7, 0, []), (6, 0, [VALUE])), "no content"),
    "only skips": (one(b"\x0a\x03"), "no content"),
    "empty text": (one(in_root(STRING, b"\x00")), "no length"),
    "no values": (one(in_root(ANY, b"\x00")), "no length"),
    "nothing deleted": (one(in_root(DELETED, b"\x00")), "no length"),
    "empty GC": (one(b"\x00\x00"), "no length"),
    "empty skip": (update((7, 0, [VALUE, b"\x0a\x00"])), "no length"),
    "client too high": (update((CLIENT_MAX + 1, 0, [VALUE])), "above"),
    "clock too high": (update((7, CLOCK_MAX + 1, [VALUE])), "above"),
    "end too high": (update((7, CLOCK_MAX, [VALUE])), "ends above clock"),
    "sum too high": (update((7, 0, [b"\x00" + varint(CLOCK_MAX), b"\x00\x01"])), "ends above clock"),
    "endless number": (b"\x01\x01" + b"\xff" * 40 + b"\x01", "more than 8 bytes"),
    "claimed blocks": (varint(CLOCK_MAX) + b"\x00", "claims"),
    "claimed structs": (b"\x01" + varint(10**6) + b"\x07\x00\x00\x01\x00", "claims"),
    "claimed values": (one(in_root(ANY, values(b"\x76" + varint(2**30)))), "claims"),
    "claimed deletions": (update(deleted=b"\x01\x07" + varint(10**6)), "claims"),
    "JSON content": (one(in_root(JSON, values(string("1")))), "kind 2"),
    "kind 11": (one(in_root(11, b"\x00")), "kind 11"),
    "kind 31": (one(in_root(31, b"\x00")), "kind 31"),
    "GC with flags": (one(b"\x80\x01"), "kind 0"),
    "skip with flags": (one(b"\x8a\x01"), "kind 10"),
    "parent of no kind": (one(b"\x08\x02" + string("m") + values(b"\x7e")), "neither a root type nor an item"),
    "own origin": (one(right_of(ANY, values(b"\x7e"), (7, 0))), "not before item 0"),
    "later origin": (one(right_of(ANY, values(b"\x7e"), (7, 9))), "not before item 0"),
    "own right origin": (one(left_of(ANY, values(b"\x7e"), (7, 0))), "not before item 0"),
    "own parent": (one(in_item(TYPE, MAP, (7, 0), "k")), "not before item 0"),
    "later parent": (one(in_item(ANY, values(b"\x7e"), (7, 1), "k")), "not before item 0"),
    "child of a value": (update((7, 0, [VALUE, in_item(ANY, values(b"\x7e"), (7, 0), "k")])), "not a shared type"),
    "child of a text run": (
        update((9, 0, [in_item(ANY, values(b"\x7e"), (7, 1))]), (7, 0, [in_root(STRING, string("abc"))])),
        "not a shared type",
    ),
    "type of no kind": (one(in_root(TYPE, b"\x07")), "kind 7"),
    "XML hook": (one(in_root(TYPE, b"\x05" + string("h"))), "kind 5"),
    "weak link of yrs": (one(in_root(TYPE, b"\x07\x00")), "kind 7"),
    "text not UTF-8": (one(in_root(STRING, string(b"\xff"))), "not UTF-8"),
    "surrogate": (one(in_root(STRING, string(b"\xed\xa0\x80"))), "not UTF-8"),
    "root not UTF-8": (one(b"\x08\x01\x01\xc3" + values(b"\x7e")), "not UTF-8"),
    "key not UTF-8": (one(in_root(ANY, values(b"\x76\x01" + string(b"\x80") + b"\x7e"))), "not UTF-8"),
    "value not UTF-8": (one(in_root(ANY, values(text_value(b"ab\xc3"), b"\x7e"))), "not UTF-8"),
    "character over two texts": (one(in_root(ANY, values(text_value(b"\xc3"), text_value(b"\xa9")))), "not UTF-8"),
    "long value not UTF-8": (one(in_root(ANY, values(text_value(b"a" * 200 + b"\xe2\x82")))), "not UTF-8"),
    "text before a long key": (
        one(in_root(ANY, values(b"\x76\x02" + string("a") + text_value(b"\xc3") + string("k" * 200) + b"\x7e"))),
        "not UTF-8",
    ),
    "character before a number": (one(in_root(ANY, values(text_value(b"\xf0"), b"\x7d\xbf\x01"))), "not UTF-8"),
    "tag 115": (one(in_root(ANY, values(b"\x73"))), "kind 115"),
    "tag 128": (one(in_root(ANY, values(b"\x80"))), "kind 128"),
    "unsafe integer": (one(in_root(ANY, values(b"\x7d" + b"\xbf" + b"\xff" * 6 + b"\x20"))), "safe integers"),
    "endless integer": (one(in_root(ANY, values(b"\x7d" + b"\xff" * 30 + b"\x00"))), "safe integers"),
    "subdocument of null": (one(in_root(DOC, string("g") + b"\x7e")), "not an object"),
    "subdocument of undefined": (one(in_root(DOC, string("g") + b"\x7f")), "not an object"),
    "format under a key": (one(in_root(FORMAT, string("bold") + string("null"), key="k")), "under a key"),
    "subdocument named twice": (one(in_root(DOC, string("g") + b"\x76\x01" + string("guid") + b"\x7d\x05")), "second"),
    "empty deletion": (update(deleted=deletes((7, [(0, 0)]))), "empty"),
    "deletion too high": (update(deleted=deletes((7, [(CLOCK_MAX, 1)]))), "above clock"),
    "client without deletions": (update(deleted=deletes((7, []))), "has none"),
    "deletions twice": (update(deleted=deletes((7, [(0, 1)]), (7, [(1, 1)]))), "second time"),
    "deletions out of order": (update(deleted=deletes((7, [(5, 1), (0, 1)]))), "ascending"),
    "deletions overlap": (update(deleted=deletes((7, [(0, 3), (2, 5)]))), "ascending"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_G6_refuses(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(InvalidUpdate, match=reason):
        validate(data)


@pytest.mark.parametrize("prefix", [b"", string("bold")], ids=["embed", "format"])
@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("null", True),
        (' {"a": [1, -0.5, 1e9, "\\ud83d\\ude00", "é"]}\n', True),
        ("9223372036854775807", True),
        ("18446744073709551616", True),
        ('"\\\\ud800"', True),
        ('"[[[[{{{{"', True),
        ("", False),
        ("undefined", False),
        ("NaN", False),
        ("-Infinity", False),
        ("\ufeff1", False),
        ("\xa01", False),
        ("01", False),
        ("{", False),
        ('"\x01"', False),
        ('"\\x"', False),
        ('"abc', False),
        ('"abc\\', False),
        ("1 2", False),
        ("1e400", False),  # serde_json, and so yrs, has no such numbers
        ("1" * 400, False),
        ("9223372036854775808", False),
        ('"\\ud800"', False),
        ('{"\\udc00": 1}', False),
    ],
)
def test_G6_JSON_is_what_both_sides_parse(prefix: bytes, text: str, is_json: bool) -> None:
    data = one(in_root(FORMAT if prefix else EMBED, prefix + string(text)))
    if is_json:
        validate(data)
        Doc().apply_update(data)
    else:
        with pytest.raises(InvalidUpdate, match="JSON at byte"):
            validate(data)


@pytest.mark.parametrize("opening", [b"\x75\x01", b"\x76\x01\x01k"], ids=["lists", "objects"])
def test_G6_depth_of_values_is_bounded(opening: bytes) -> None:
    def nested(depth: int) -> bytes:
        return one(in_root(ANY, values(opening * depth + b"\x7e")))

    validate(nested(VALUE_DEPTH_MAX))
    validate(nested(3), depth_max=3)
    for data, depth_max in ((nested(VALUE_DEPTH_MAX + 1), VALUE_DEPTH_MAX), (nested(100_000), 32), (nested(4), 3)):
        with pytest.raises(InvalidUpdate, match=f"more than {depth_max} levels"):
            validate(data, depth_max=depth_max)


def test_G6_depth_of_JSON_is_bounded_before_it_is_parsed() -> None:
    def nested(depth: int) -> bytes:
        return one(in_root(EMBED, string("[" * depth + '"]]"' + "]" * depth)))

    validate(nested(VALUE_DEPTH_MAX))
    for depth in (VALUE_DEPTH_MAX + 1, 100_000):
        with pytest.raises(InvalidUpdate, match="levels deep"):
            validate(nested(depth))


def nested_types(depth: int, *, by_neighbours: bool = False) -> bytes:
    """Types in types; by neighbours, each level's type names no parent, but stands beside an item that does."""
    structs = [in_root(TYPE, ARRAY)]
    clock = 0
    for _ in range(depth):
        if by_neighbours:
            structs += [in_item(ANY, values(b"\x7e"), (7, clock)), right_of(TYPE, ARRAY, (7, clock + 1))]
            clock += 2
        else:
            structs.append(in_item(TYPE, ARRAY, (7, clock)))
            clock += 1
    return update((7, 0, structs), deleted=deletes((7, [(0, 1)])))


@pytest.mark.parametrize("by_neighbours", [False, True])
def test_G6_depth_of_shared_types_is_bounded(by_neighbours: bool) -> None:
    validate(nested_types(TYPE_DEPTH_MAX, by_neighbours=by_neighbours))
    validate(nested_types(5, by_neighbours=by_neighbours), type_depth_max=5)
    for depth, depth_max in ((TYPE_DEPTH_MAX + 1, TYPE_DEPTH_MAX), (30_000, TYPE_DEPTH_MAX), (6, 5)):
        with pytest.raises(InvalidUpdate, match="shared types"):
            validate(nested_types(depth, by_neighbours=by_neighbours), type_depth_max=depth_max)


def test_items_that_wait_for_one_another_are_well_formed() -> None:
    circle = update((9, 0, [in_item(TYPE, MAP, (7, 0))]), (7, 0, [in_item(TYPE, MAP, (9, 0))]))
    assert validate(circle).structs == {9: [(0, 1)], 7: [(0, 1)]}


@pytest.mark.parametrize("data", YJS_V2)
def test_G6_v2_is_refused(data: str) -> None:
    with pytest.raises(InvalidUpdate):
        validate(bytes.fromhex(data))


def test_G6_every_truncation_is_refused() -> None:
    for data in (YJS_STATE, one(VALUE), *real_session(random.Random(1))[0]):
        for size in range(len(data)):
            with pytest.raises(InvalidUpdate):
                validate(data[:size])


@pytest.mark.parametrize("seed", range(20))
def test_G6_real_updates_are_taken(seed: int) -> None:
    updates, docs = real_session(random.Random(seed), steps=40)
    every = merge_updates(*updates)
    for data in (
        *updates,
        every,
        *(doc.get_update() for doc in docs),
        *(get_update(every, doc.get_state()) for doc in docs),
    ):
        validate(data)
    assert joined([validate(every).structs]) == joined(validate(data).structs for data in updates)
    assert dissect(every)[0] == validate(every)


POOL = [data for seed in range(8) for data in real_session(random.Random(seed))[0]] + [YJS_STATE]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(POOL)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["set", "flip", "cut", "drop", "insert", "splice"])):
            case "set" if data:
                data[at] = draw(
                    st.sampled_from([*range(12), 0x28, 0x40, 0x80, 0x84, 0x88, 0xA8, *range(115, 130), 255])
                )
            case "flip" if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at:]
            case "drop":
                del data[at : at + draw(st.integers(1, 4))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "splice":
                other = draw(st.sampled_from(POOL))
                begin = draw(st.integers(0, len(other) - 1))
                data[at : at + draw(st.integers(0, 20))] = other[begin : begin + 20]
    return bytes(data)


@settings(THOROUGH, max_examples=800)
@given(data=mutated())
def test_G6_a_mutation_is_refused_or_harmless(data: bytes) -> None:
    try:
        ranges = validate(data)
    except InvalidUpdate:
        return
    doc: Doc[Any] = Doc()
    doc.apply_update(data)
    doc.get_update()
    get_state(data)
    get_update(data, doc.get_state())
    assert joined([validate(merge_updates(data, EMPTY_UPDATE)).structs]) == joined([ranges.structs])


@settings(THOROUGH, max_examples=400)
@given(data=st.binary(max_size=60))
def test_G6_any_bytes_are_refused_or_harmless(data: bytes) -> None:
    try:
        validate(data)
    except InvalidUpdate:
        return
    Doc().apply_update(data)
