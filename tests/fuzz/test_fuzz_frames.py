"""Frames of every type, cut, mutated and joined: the session answers with a command or a Close, and never raises (G6).

What it takes of awareness, stock clients must be able to hear, for it is passed on to all of them.
"""

import base64
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from boardlog import awareness
from boardlog.awareness import CLOCK_MAX, STATE_BYTES_MAX, STATES_PER_UPDATE_MAX, State
from boardlog.errors import InvalidUpdate
from boardlog.grant import Grant, Role
from boardlog.ids import BoardId
from boardlog.update import validate
from boardlog.wire import MalformedFrame, write_varuint
from relay.awareness_states import CLIENTS_PER_MEMBER_MAX, AwarenessStates
from relay.session import Close, CloseCode, Command, Present, Session, Validate
from tests.fuzz.oracles import Oracle, oracles
from tests.fuzz.seeds import again, seeds

KEPT_SEEDS = (1, 2, 3)
FRAMES_PER_SEED = 8000

MESSAGES = {"step1": b"\x00\x00", "step2": b"\x00\x01", "update": b"\x00\x02", "awareness": b"\x01"}


@pytest.fixture(scope="module")
def yjs() -> Iterator[Oracle]:
    with oracles() as (reader, _):
        yield reader


def message(prefix: bytes, body: bytes) -> bytes:
    return prefix + write_varuint(len(body)) + body


def session(chance: random.Random) -> Session:
    return Session(Grant(BoardId("board"), chance.choice(list(Role)), "test", every_board=False))


def answer(client: Session, frame: bytes) -> Command | None:
    """Return what a session says, once a large change was validated. What is not linear runs into the time limit."""
    command = client.receive(frame)
    if isinstance(command, Validate):
        try:
            command = client.validated(command.change, validate(command.change.update))
        except InvalidUpdate as error:
            command = Close(CloseCode.MALFORMED, str(error))
    if isinstance(command, Close):
        assert command.code in {CloseCode.MALFORMED, CloseCode.FORBIDDEN, CloseCode.TOO_LARGE}
        assert command.reason
    return command


def some_states(chance: random.Random) -> bytes:
    """Return an awareness update, which need not be one."""
    texts = [
        b"null", b"{}", b'{"user":{"name":"Ann \xf0\x9f\x98\x80"}}', b'{"a":' * 63 + b"1" + b"}" * 63, b"[]",
        b"1", b"", b"{",
        b'{"a":' * 5000, b"[" * 100_000, b'{"a":"' + b"x" * chance.choice([10, STATE_BYTES_MAX,
        STATE_BYTES_MAX * 2]) + b'"}',
        b'{"a":1e400}', b'{"a":NaN}', b'{"__proto__":{"a":1}}', b'{"\xff":1}', b'{"a":"\\ud800"}',
        b'{"a":1,"a":2}', b" null ",
        b'{"a":' + b"1" * 5000 + b"}", b'{"a":"\x00"}', b'{"a":-}', b'"\\' * 9,
    ]  # fmt: skip
    clocks = [0, 1, 5, CLOCK_MAX - 1, CLOCK_MAX, CLOCK_MAX + 1, 2**52, 2**53 - 1, 2**53, 2**56 - 1]
    count = chance.choice([0, 1, 1, 1, 2, 3, 50])
    parts = []
    for _ in range(count):
        text = chance.choice(texts)
        client = chance.choice([0, 1, 7, 7, 2**32, 2**53 - 1, 2**53])
        parts += [write_varuint(client), write_varuint(chance.choice(clocks)), write_varuint(len(text)), text]
    claimed = count if chance.random() < 0.8 else chance.choice([0, 1, 1000, 1001, 2**40])
    return b"".join([write_varuint(claimed), *parts])


def mutated(chance: random.Random, frame: bytes, other: bytes) -> bytes:
    at = chance.randrange(len(frame))
    match chance.randrange(7):
        case 0:
            return frame[:at]
        case 1:
            return frame[:at] + bytes([frame[at] ^ 1 << chance.randrange(8)]) + frame[at + 1 :]
        case 2:
            return frame[:at] + chance.randbytes(chance.randrange(1, 9)) + frame[at:]
        case 3:
            return frame + other  # several messages in one frame
        case 4:
            return frame[:at] + write_varuint(chance.choice([0, 2**31, 2**53, 2**63, 2**70])) + frame[at + 1 :]
        case 5:
            return frame[:at] + b"\xff" * chance.choice([1, 8, 100_000]) + frame[at:]
        case _:
            return bytes([chance.choice([0, 1, 2, 3, 4, 99, 100, 101, 127, 255])]) + frame[1:]


def real_frames(chance: random.Random, yjs: Oracle, seed: int) -> list[bytes]:
    updates = [base64.b64decode(update) for update in yjs.ask(seed=seed, steps=10)["updates"]]
    frames = [message(MESSAGES[kind], chance.choice(updates)) for kind in ("step2", "update") for _ in range(5)]
    frames += [message(MESSAGES["step1"], vector) for vector in (b"\x00", b"\x01\x07\x05", b"\x02\x07\x05\x08\x01")]
    frames += [message(MESSAGES["awareness"], some_states(chance)) for _ in range(20)]
    return [*frames, b"\x03", b"\x64\x00\x01", b"\x64\x00\x02\x09\x09"]


@pytest.mark.parametrize("seed", seeds(KEPT_SEEDS))
def test_G6_the_session_answers_whatever_comes(seed: int, yjs: Oracle) -> None:
    chance = random.Random(seed)
    frames = real_frames(chance, yjs, seed)
    counts: Counter[str] = Counter()
    heard: list[bytes] = []
    whole = [frame[:end] for frame in frames for end in range(min(len(frame), 300) + 1)]
    for number in range(FRAMES_PER_SEED):
        frame = chance.choice(frames)
        if chance.random() < 0.2:
            frame = message(MESSAGES["awareness"], some_states(chance))
        for _ in range(chance.randrange(4)):
            frame = mutated(chance, frame or b"\x00", chance.choice(frames))
        if number < len(whole):
            frame = whole[number]
        try:
            command = answer(session(chance), frame)
        except BaseException as error:
            raise AssertionError(f"{frame.hex()[:2000]}\nAgain: {again(seed, __name__)}") from error
        counts[type(command).__name__] += 1
        if isinstance(command, Present):
            with suppress(MalformedFrame):
                heard.append(awareness.encode(awareness.decode(command.update)))
    heard = heard[:500]
    threw = [
        text for text in yjs.ask(awareness=[base64.b64encode(update).decode() for update in heard])["threw"] if text
    ]
    assert not threw, f"{threw[:5]} Again: {again(seed, __name__)}"
    print(f"seed {seed}: {dict(counts)}, {len(heard)} heard by a stock client")


FLOODS = {
    "thousands of states": [State(client, 1, b"{}") for client in range(STATES_PER_UPDATE_MAX)],
    "clocks at the limit": [State(client, CLOCK_MAX, b"{}") for client in range(100)],
    "one client again and again": [State(7, clock, b"{}") for clock in range(1000)],
    "states of 32 KiB": [State(client, 1, b'{"a":"' + b"x" * (STATE_BYTES_MAX - 8) + b'"}') for client in range(60)],
}


@pytest.mark.parametrize("name", FLOODS)
def test_G6_an_awareness_flood_is_bounded_for_each_member(name: str) -> None:
    states, eve = AwarenessStates(), object()
    command = answer(session(random.Random(1)), message(b"\x01", awareness.encode(FLOODS[name])))
    assert isinstance(command, Present)
    for _ in range(50):
        states.merge(awareness.decode(command.update), eve, 0.0)
    assert len(states.clients()) <= CLIENTS_PER_MEMBER_MAX
    ann = object()
    assert states.merge([State(10**9, 1, b"{}")], ann, 0.0, introduces=True).changed == [10**9]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff" * 2_000_000,
        b"\x01" + b"\xff" * 1_000_000,
        b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01" + b"\x75\x01" * 1_000_000,
    ],
    ids=["an endless number", "an endless client", "nesting"],
)
@pytest.mark.parametrize("kind", MESSAGES)
def test_G6_megabytes_of_one_thing_are_refused_at_once(kind: str, body: bytes) -> None:
    client = Session(Grant(BoardId("board"), Role.EDITOR, "test", every_board=False))
    command = answer(client, message(MESSAGES[kind], body))
    if isinstance(command, Present):  # it is the room that reads what is no echo, and closes
        with pytest.raises(MalformedFrame):
            awareness.decode(command.update)
    else:
        assert isinstance(command, Close)
