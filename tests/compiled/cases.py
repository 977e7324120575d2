"""What the compiled modules are asked, and how they answer: seeded, and from the fuzzers' own generators."""

import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

from pycrdt import merge_updates

from boardlog import awareness, entry, ids, joining, lib0, wire
from boardlog.coverage import Coverage
from boardlog.update import dissect, validate, validate_walking
from boardlog.usual import read_usual
from relay import protocol
from relay.frames import BadFrame, FrameReader, TooLarge
from tests.clientframes import client_frame
from tests.fuzz.test_fuzz_frames import MESSAGES, message, mutated, some_states
from tests.fuzz.test_fuzz_updates import pycrdt_session
from tests.fuzz.updates import How, Mutator

SEED = 20
SESSIONS = 4
MUTANTS_PER_SESSION = 400
FRAMES = 1500
NUMBERS = (0, 1, 127, 128, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**56 - 1, 2**56, 2**61, 2**62 - 1, 2**62, 2**63 - 1)
NUMBERS_BEYOND = (2**63, 2**64 - 1, 2**64, 2**70, 2**200)
"""From 2**62 on compiled code counts in another way."""
MESSAGE_BYTES_MAX = 70_000
TOLD_CHARACTERS_MAX = 2_000


class Case(NamedTuple):
    """One question."""

    asked: str
    """A name in ASKED."""
    given: tuple[Any, ...]


class Bytes(bytes):
    """What is declared as bytes may be this too."""


def cases() -> Iterator[Case]:
    """Yield the same ones each time."""
    chance = random.Random(SEED)
    updates: list[bytes] = []
    for _ in range(SESSIONS):
        session = pycrdt_session(chance)
        mutator = Mutator(chance, [*session, merge_updates(*session)])
        updates += [*session, *(mutator.mutant(chance.choice(list(How))) for _ in range(MUTANTS_PER_SESSION))]
        yield Case("join", (session,))
        yield Case("cover", (session, chance.random()))
    hostile = [
        b"", b"\x00", b"\x00\x00", b"\x01", b"\xff" * 9, b"\x01" + b"\xff" * 100_000, b"\x80" * 8 + b"\x01",
        b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01" + b"\x75\x01" * 100_000, Bytes(b"\x00\x00"), bytearray(b""),
        *(b"\x01\x01" + wire.write_varuint(number) + b"\x00\x08\x01\x01m\x01\x7e\x00" for number in NUMBERS),
        *(b"\x00\x01\x07\x01" + wire.write_varuint(number) + b"\x01" for number in NUMBERS),
    ]  # fmt: skip
    for update in [*updates, *hostile, *(updates[0][:end] for end in range(len(updates[0])))]:
        if type(update) is not bytearray:
            for asked in ("validate", "validate_walking", "read_usual", "dissect"):
                yield Case(asked, (update,))
    yield from _of_messages(chance, updates)
    yield from _of_the_rest(chance)


def _of_messages(chance: random.Random, updates: list[bytes]) -> Iterator[Case]:
    kinds = list(MESSAGES)
    for _ in range(FRAMES):
        kind = chance.choice(kinds)
        body = some_states(chance) if kind == "awareness" else chance.choice(updates)
        frame = message(MESSAGES[kind], body)
        for _ in range(chance.randrange(3)):
            frame = mutated(chance, frame or b"\x00", message(MESSAGES["update"], chance.choice(updates)))
        yield Case("decode", (frame,))
        yield Case("read states", (body,))
        stream = b"".join(_some_frame(chance, frame) for _ in range(chance.randrange(1, 4)))
        cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.randrange(4)))
        pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        yield Case("read frames", (pieces,))
    for size in (0, 1, 125, 126, 65_535, 65_536, protocol.FRAGMENT_BYTES, 3 * protocol.FRAGMENT_BYTES):
        yield Case("frame", (b"x" * size,))


def _some_frame(chance: random.Random, payload: bytes) -> bytes:
    whole = chance.random() < 0.6
    frame = client_frame(
        payload[: chance.choice([1, 100, 200_000])] if whole else payload[: chance.choice([0, 1, 2, 125, 126])],
        opcode=2 if whole else chance.choice([0, 1, 2, 8, 9, 10, 3, 15]),
        final=whole or chance.random() < 0.6,
        bits=0 if chance.random() < 0.95 else 0x40,
        key=chance.randbytes(4) if chance.random() < 0.97 else None,
        claim=-1 if chance.random() < 0.9 else chance.choice([0, 200, 70_000, 2**31, 2**62, 2**64 - 1]),
    )
    return frame if chance.random() < 0.95 else frame[: chance.randrange(len(frame))]


def _of_the_rest(chance: random.Random) -> Iterator[Case]:
    for number in (*NUMBERS, *NUMBERS_BEYOND, -1):
        yield Case("write a number", (number,))
        yield Case("tell saved", (number,))
        yield Case("encode a state", (number,))
        yield Case("parse an id", (f"{number}-{number}".encode(),))
        yield Case("parse_publish", (f"{number}-0 a {number}-{number} b\npayload".encode(),))
        for limit in (0, 2**31 - 1, 2**62, 2**70):
            yield Case("read a number", (b"\xff" + (wire.write_varuint(number) if number >= 0 else b""), 1, limit))
    for code in (-1, 0, 999, 1000, 1005, 4400, 65_535, 65_536):
        yield Case("close", (code, "é😀" * 40))
    for text in (
        "",
        "[" * 33,
        '{"a":' * 32 + "1" + "}" * 32,
        "1e400",
        "[" * 50_000,
        '"\\ud83d"',
        f"{2**63}",
        f"{2**64}",
    ):
        yield Case("check JSON", (text,))
    for text in (b"", b"-", b"1-2", b"1", b"a-b", b"\xff-1", b" 1-2 ", b"1-2-3", b"1_0-2"):
        yield Case("parse an id", (text,))
        yield Case("parse a board's id", (text.decode("latin-1"),))
        yield Case("parse_publish", (text + b" a " + text + b" b",))
        yield Case("take fields", (text, [b"t", b"tag", b"p", text]))
    packed = entry.pack(entry.Payload(entry.EntryKind.REBASE, (b"one", b"another", b"x" * 300)))
    for _ in range(200):
        yield Case("unpack", (chance.randbytes(chance.randrange(20)),))
        yield Case("unpack", (mutated(chance, packed, packed),))
        yield Case("parse_publish", (mutated(chance, b"12-0 abc 12-1 def\n" + packed, packed),))
        yield Case("cover ranges", (chance.random(),))


def answer(case: Case) -> str:
    """Return what is answered, or raised: its type and its sentence."""
    try:
        told = repr(ASKED[case.asked](*case.given))
    except Exception as error:  # noqa: BLE001  whatever it is, both have to raise it
        told = f"{type(error).__name__}: {error}"
    return (
        told
        if len(told) <= TOLD_CHARACTERS_MAX
        else f"{told[:TOLD_CHARACTERS_MAX]}… {sha256(told.encode()).hexdigest()}"
    )


def _read_frames(pieces: list[bytes]) -> list[object]:
    reader = FrameReader(MESSAGE_BYTES_MAX)
    told: list[object] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (read := reader.next()) is not None:
                told.append(read)
    except (BadFrame, TooLarge) as error:
        told.append((type(error).__name__, str(error), getattr(error, "code", None)))
    return told


def _frame(body: bytes) -> list[object]:
    shared = protocol.update(body)
    frames: list[object] = [shared.frame(at) for at in range(0, max(1, len(body)), protocol.FRAGMENT_BYTES)]
    answers = [protocol.sync_step_1(body), protocol.awareness(body), protocol.sync_step_2(body), len(shared)]
    return [*frames, *answers, protocol.joined([shared, shared, protocol.update(b"small")])]


def _join(updates: list[bytes]) -> list[bytes]:
    return joining.join([(update, read_usual(update)) for update in updates])


def _cover(updates: list[bytes], seed: float) -> list[object]:
    chance, coverage, told = random.Random(seed), Coverage(), []
    for update in chance.sample(updates, len(updates)):
        ranges = validate(update)
        told += [coverage.covers(ranges), coverage.state_vector(), ranges.flat(), ranges.interval_count]
        coverage.add(ranges)
    return told


def _cover_ranges(seed: float) -> list[object]:
    chance, coverage, told = random.Random(seed), Coverage(), []
    for _ in range(10):
        some = [(begin, begin + chance.randrange(1, 9)) for begin in sorted(chance.choices(NUMBERS, k=20))]
        ranges = validate(b"\x00\x00")._replace(structs={chance.randrange(2): some}, deletes={7: some})
        told += [coverage.covers(ranges), coverage.state_vector()]
        coverage.add(ranges)
    return told


ASKED: dict[str, Callable[..., object]] = {
    "validate": validate,
    "validate_walking": lambda update: validate_walking(update, 32, 256),
    "read_usual": read_usual,
    "dissect": dissect,
    "join": _join,
    "cover": _cover,
    "cover ranges": _cover_ranges,
    "decode": protocol.decode,
    "read states": lambda data: [awareness.decode(data), [*awareness.encode_all(awareness.decode(data))]],
    "read frames": _read_frames,
    "frame": _frame,
    "close": protocol.close,
    "tell saved": protocol.saved,
    "encode a state": lambda number: awareness.encode([awareness.State(number, number, b"{}")]),
    "write a number": wire.write_varuint,
    "read a number": lib0.read_varint,
    "check JSON": lambda text: lib0.check_json(text, 0, 32),
    "unpack": entry.unpack,
    "parse_publish": entry.parse_publish,
    "take fields": entry.from_fields,
    "parse an id": ids.EntryId.parse,
    "parse a board's id": ids.parse_board_id,
}
