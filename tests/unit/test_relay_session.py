"""One client's protocol: a frame in, a command out, and nothing bad gets through (G6)."""

import random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from boardlog import awareness
from boardlog.awareness import State
from boardlog.grant import Grant, Role
from boardlog.ids import BoardId
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from boardlog.update import validate
from boardlog.wire import write_varuint
from relay import session
from relay.protocol import SyncStep2, Update
from relay.session import (
    UPDATE_BYTES_MAX,
    VALIDATED_HERE_BYTES_MAX,
    Append,
    Close,
    CloseCode,
    Command,
    Drop,
    Present,
    Refill,
    SendAwareness,
    SendState,
    Session,
    TellSaved,
    Validate,
)

SYNC_STEP_1, SYNC_STEP_2, UPDATE, AWARENESS = b"\x00\x00", b"\x00\x01", b"\x00\x02", b"\x01"
QUERY_AWARENESS = b"\x03"
HELLO = b"\x64\x00\x01"
ANN = State(7, 1, b'{"user":"Ann"}')
BOB = State(8, 1, b'{"user":"Bob"}')


def message(prefix: bytes, body: bytes) -> bytes:
    return prefix + write_varuint(len(body)) + body


def session_of(role: Role) -> Session:
    return Session(Grant(BoardId("board"), role, "test", every_board=False))


@pytest.fixture
def editor() -> Session:
    return session_of(Role.EDITOR)


@pytest.fixture
def viewer() -> Session:
    return session_of(Role.VIEWER)


@pytest.fixture(scope="module")
def change() -> bytes:
    """An update with content and deletions of several kinds."""
    doc: Doc[Any] = Doc(client_id=300)
    doc["text"] = Text("Hello 😀 world")
    doc["map"] = Map({"record": {"x": 1.5, "y": -3, "tags": ["a", None, True]}, "other": Array([1, 2])})
    del doc["text"][2:5]
    return doc.get_update()


def code_of(command: Command | Validate | None) -> CloseCode:
    assert isinstance(command, Close), command
    assert command.reason
    return command.code


def nested(levels: int) -> bytes:
    """An update that sets a key to lists in lists."""
    return b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01" + b"\x75\x01" * levels + b"\x7e" + b"\x00"


# Editors


def test_an_editors_change_is_logged_as_it_came(editor: Session, change: bytes) -> None:
    assert editor.receive(message(UPDATE, change)) == Append(change)


def test_an_editors_answer_is_a_refill_with_what_it_speaks_of(editor: Session, change: bytes) -> None:
    assert editor.receive(message(SYNC_STEP_2, change)) == Refill(change, validate(change))


def test_a_change_that_says_nothing_is_counted_and_not_logged(editor: Session) -> None:
    assert editor.receive(message(UPDATE, EMPTY_UPDATE)) == Drop()


@pytest.mark.parametrize("prefix", [UPDATE, SYNC_STEP_2])
def test_G7_a_large_change_is_validated_elsewhere_whatever_is_in_it(editor: Session, prefix: bytes) -> None:
    large = b"\xff" * (VALIDATED_HERE_BYTES_MAX + 1)
    command = editor.receive(message(prefix, large))
    assert isinstance(command, Validate)
    assert command.change.update == large


def test_a_large_change_that_was_found_valid_is_what_a_small_one_is(editor: Session, change: bytes) -> None:
    ranges = validate(change)
    assert editor.validated(Update(change), ranges) == Append(change)
    assert editor.validated(Update(change), None) == Append(change)
    assert editor.validated(SyncStep2(change), ranges) == Refill(change, ranges)
    assert editor.validated(SyncStep2(change), None) == Refill(change, None)
    assert editor.validated(Update(EMPTY_UPDATE), validate(EMPTY_UPDATE)) == Drop()


def test_nobody_validates_a_viewers_large_change(viewer: Session) -> None:
    large = b"\xff" * (VALIDATED_HERE_BYTES_MAX + 1)
    assert viewer.receive(message(SYNC_STEP_2, large)) == Drop()
    assert code_of(viewer.receive(message(UPDATE, large))) is CloseCode.FORBIDDEN


def test_an_empty_answer_is_an_answer(editor: Session) -> None:
    """After a loss the next editor is asked when this one has nothing (L5)."""
    assert editor.receive(message(SYNC_STEP_2, EMPTY_UPDATE)) == Refill(EMPTY_UPDATE, validate(EMPTY_UPDATE))


def test_deletions_alone_are_a_change(editor: Session) -> None:
    deletion = b"\x00\x01\x07\x01\x00\x02"
    assert editor.receive(message(UPDATE, deletion)) == Append(deletion)
    assert editor.receive(message(SYNC_STEP_2, deletion)) == Refill(deletion, validate(deletion))


# What viewers may: L13


def test_a_viewers_change_is_forbidden(viewer: Session, change: bytes) -> None:
    assert code_of(viewer.receive(message(UPDATE, change))) is CloseCode.FORBIDDEN


def test_a_viewers_answer_is_ignored_whatever_it_holds(viewer: Session, change: bytes) -> None:
    for body in (change, EMPTY_UPDATE, b"rubbish"):
        assert viewer.receive(message(SYNC_STEP_2, body)) == Drop(), "counted all the same (L11)"


@pytest.mark.parametrize("role", list(Role))
def test_everyone_may_ask_for_the_state_and_be_present(role: Role) -> None:
    client = session_of(role)
    vector = b"\x01\x07\x05"
    assert client.receive(message(SYNC_STEP_1, vector)) == SendState(vector)
    assert client.receive(message(SYNC_STEP_1, EMPTY_STATE_VECTOR)) == SendState(EMPTY_STATE_VECTOR)
    assert client.receive(QUERY_AWARENESS) == SendAwareness()
    assert client.receive(message(AWARENESS, awareness.encode([ANN]))) == Present(
        awareness.encode([ANN]), introduces=True
    )


# What clients are told to be saved


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("hello", [HELLO, b"\x64\x00\x02", b"\x64\x00\xff\x01and what a later version says"])
def test_L11_everyone_may_ask_what_is_saved_at_any_time_and_again(role: Role, hello: bytes) -> None:
    client = session_of(role)
    client.receive(message(SYNC_STEP_1, EMPTY_STATE_VECTOR))
    assert client.receive(hello) == TellSaved()
    assert client.receive(hello) == TellSaved()


# Presence


def test_only_the_first_word_of_oneself_alone_introduces(editor: Session) -> None:
    assert editor.receive(message(AWARENESS, awareness.encode([ANN]))) == Present(
        awareness.encode([ANN]), introduces=True
    )
    assert editor.receive(message(AWARENESS, awareness.encode([BOB]))) == Present(
        awareness.encode([BOB]), introduces=False
    )


@pytest.mark.parametrize("kind", [SYNC_STEP_2, UPDATE])
def test_who_has_answered_before_it_spoke_of_anybody_repeats_what_it_heard(editor: Session, kind: bytes) -> None:
    """A client that is nobody yet: it would own whoever it heard of first, and take them along when it leaves."""
    editor.receive(message(kind, EMPTY_UPDATE))
    assert editor.receive(message(AWARENESS, awareness.encode([ANN]))) == Present(
        awareness.encode([ANN]), introduces=False
    )


def test_speaking_of_several_introduces_nobody_and_ends_the_chance(editor: Session) -> None:
    assert editor.receive(message(AWARENESS, awareness.encode([ANN, BOB]))) == Present(
        awareness.encode([ANN, BOB]), introduces=True
    )
    assert editor.receive(message(AWARENESS, awareness.encode([ANN]))) == Present(
        awareness.encode([ANN]), introduces=False
    )


def test_awareness_of_nobody_asks_for_nothing(editor: Session) -> None:
    assert editor.receive(message(AWARENESS, awareness.EMPTY)) is None


# Bad input (G6)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\x02\x00",
        b"\x7f",
        b"\xff" * 100,
        b"text",
        message(b"\x00\x03", EMPTY_UPDATE),
        message(SYNC_STEP_1, b""),
        message(SYNC_STEP_1, b"\x01\x07"),
        message(SYNC_STEP_1, b"\x02\x07\x05\x07\x06"),
        message(SYNC_STEP_1, b"\x00\x00"),
        message(SYNC_STEP_1, b"\xff\xff\xff\xff\x0f"),
        message(SYNC_STEP_1, EMPTY_STATE_VECTOR) + b"\x00",
        QUERY_AWARENESS + b"\x00",
        HELLO[:1],
        HELLO[:2],
        HELLO + b"\x00",
        b"\x64\x00\x00",
        b"\x64\x01\x05",
        b"\x64\x02",
        b"\x65\x00\x01",
    ],
)
def test_malformed_frames_end_the_connection_for_good(role: Role, frame: bytes) -> None:
    assert code_of(session_of(role).receive(frame)) is CloseCode.MALFORMED


@pytest.mark.parametrize("prefix", [UPDATE, SYNC_STEP_2])
@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (b"", "breaks off"),
        (b"\x00", "breaks off"),
        (b"\x00\x00\x00", "more bytes follow"),
        (b"\x01\x01\x07\x00\x00\x00\x00", "no length"),
        (b"\x01\x01\x07\x00\x1f\x01\x00", "kind 31"),
        (b"\x01\x01\x07\x00\x84\x07\x00\x01x\x00", "not before"),
        (b"\x01\x01\x07\x00\x04\x01\x01t\x01\xff\x00", "UTF-8"),
        (b"\x00\x01\x07\x01\x00\x00", "empty"),
        (nested(40), "nested"),
        (nested(15_000), "nested"),
        (b"\xff" * 30_000, "bytes"),
    ],
)
def test_a_hostile_update_is_refused_and_the_reason_told(
    editor: Session, prefix: bytes, update: bytes, reason: str
) -> None:
    command = editor.receive(message(prefix, update))
    assert code_of(command) is CloseCode.MALFORMED
    assert isinstance(command, Close)
    assert reason in command.reason


def test_nesting_that_browsers_bear_is_taken(editor: Session) -> None:
    assert isinstance(editor.receive(message(UPDATE, nested(10))), Append)


def test_one_change_may_be_as_large_as_the_bound(
    editor: Session, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    assert UPDATE_BYTES_MAX >= 1024 * 1024, "pictures are pasted in one change"
    monkeypatch.setattr(session, "UPDATE_BYTES_MAX", len(change))
    assert editor.receive(message(UPDATE, change)) == Append(change)
    monkeypatch.setattr(session, "UPDATE_BYTES_MAX", len(change) - 1)
    assert code_of(editor.receive(message(UPDATE, change))) is CloseCode.TOO_LARGE


def test_a_change_that_is_too_large_is_not_even_looked_at(editor: Session) -> None:
    assert code_of(editor.receive(message(UPDATE, b"\xff" * (UPDATE_BYTES_MAX + 1)))) is CloseCode.TOO_LARGE


def test_an_answer_may_be_as_large_as_a_board(editor: Session, monkeypatch: pytest.MonkeyPatch, change: bytes) -> None:
    """L13: else the last one who holds a board could not refill it."""
    monkeypatch.setattr(session, "UPDATE_BYTES_MAX", 1)
    assert isinstance(editor.receive(message(SYNC_STEP_2, change)), Refill)


def test_awareness_that_no_client_sends_is_too_large(editor: Session) -> None:
    """A thousand states of 32 KiB would be parsed for as long as they like."""
    states = [State(client, 1, b'{"a":"' + b"x" * 32_000 + b'"}') for client in range(1000)]
    assert code_of(editor.receive(message(AWARENESS, awareness.encode(states)))) is CloseCode.TOO_LARGE


@pytest.mark.parametrize("role", list(Role))
def test_no_bytes_make_a_session_raise(role: Role, change: bytes) -> None:
    chance = random.Random(7)
    client = session_of(role)
    sources = [
        message(UPDATE, change),
        message(SYNC_STEP_2, change),
        message(SYNC_STEP_1, b"\x02\x07\x05\x80\x01\x06"),
        message(AWARENESS, awareness.encode([ANN, BOB])),
        HELLO,
    ]
    outcomes = set()
    for _ in range(4000):
        frame = bytearray(chance.choice(sources))
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(frame))
            match chance.randrange(3):
                case 0:
                    frame[place] = chance.randrange(256)
                case 1:
                    del frame[place : place + chance.randrange(1, 5)]
                case _:
                    frame[place:place] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 5)))
            if not frame:
                break
        outcomes.add(type(client.receive(bytes(frame))))
    assert Close in outcomes
    assert len(outcomes) > 3, "some must still be good"
