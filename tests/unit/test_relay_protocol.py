"""The wire: y-protocols messages, and the WebSocket frames that are built once for all members."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, create_sync_message, create_update_message

from boardlog.wire import MalformedFrame, write_varuint
from relay import protocol
from relay.protocol import (
    Awareness,
    Hello,
    Message,
    QueryAwareness,
    SyncStep1,
    SyncStep2,
    Update,
    decode,
)
from tests.presencefakes import messages_in

BODY_SIZES = [0, 1, 127, 128, 300]
MESSAGES: list[tuple[bytes, type[SyncStep1 | SyncStep2 | Update | Awareness]]] = [
    (b"\x00\x00", SyncStep1),
    (b"\x00\x01", SyncStep2),
    (b"\x00\x02", Update),
    (b"\x01", Awareness),
]


def body(size: int) -> bytes:
    return bytes(index % 251 for index in range(size))


def wire(prefix: bytes, content: bytes) -> bytes:
    return prefix + write_varuint(len(content)) + content


def message_in(frame: bytes) -> bytes:
    """Take a WebSocket frame apart as RFC 6455 section 5.2 says; the payload must fill it."""
    assert frame[0] == 0b1000_0010, "final, no extension, binary"
    assert not frame[1] & 0b1000_0000, "a server does not mask"
    size = frame[1]
    begin = 2
    if size == 126:
        size = int.from_bytes(frame[2:4], "big")
        begin = 4
        assert size >= 126, "the shortest form of a length must be used"
    elif size == 127:
        size = int.from_bytes(frame[2:10], "big")
        begin = 10
        assert size >= 65536, "the shortest form of a length must be used"
        assert size < 1 << 63
    assert len(frame) == begin + size
    return frame[begin:]


@pytest.mark.parametrize(("prefix", "kind"), MESSAGES)
@pytest.mark.parametrize("size", BODY_SIZES)
def test_every_message_is_decoded(prefix: bytes, kind: type[Message], size: int) -> None:
    assert decode(wire(prefix, body(size))) == kind(body(size))  # type: ignore[call-arg]


def test_a_query_has_no_body() -> None:
    assert decode(b"\x03") == QueryAwareness()


def test_L11_a_hello_is_decoded_and_a_later_one_may_say_more() -> None:
    assert decode(b"\x64\x00\x01") == decode(b"\x64\x00\x02") == decode(b"\x64\x00\x80\x01more") == Hello()


@pytest.mark.parametrize(
    "data",
    [
        b"\x64",
        b"\x64\x00",
        b"\x64\x00\x00",
        b"\x64\x00\x01\x00",
        b"\x64\x00\x80",
        b"\x64\x01\x01",
        b"\x64\x02",
        b"\x64\x7f\x01",
    ],
)
def test_L11_only_a_hello_comes_from_a_client(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode(data)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (protocol.welcome(can_append=True), b"\x64\x00\x01"),
        (protocol.welcome(can_append=False), b"\x64\x00\x00"),
        (protocol.saved(0), b"\x64\x01\x00"),
        (protocol.saved(300), b"\x64\x01\xac\x02"),
        (protocol.unsaved(), b"\x64\x02"),
    ],
)
def test_L11_what_a_client_is_told_is_a_whole_frame(frame: bytes, message: bytes) -> None:
    assert message_in(frame) == message


def test_what_pycrdt_sends_is_decoded() -> None:
    doc: Doc[Any] = Doc()
    assert decode(create_sync_message(doc)) == SyncStep1(doc.get_state())
    assert decode(create_update_message(body(200))) == Update(body(200))


@pytest.mark.parametrize(("prefix", "kind"), MESSAGES)
@pytest.mark.parametrize("size", BODY_SIZES)
def test_every_truncation_is_malformed(prefix: bytes, kind: type[Message], size: int) -> None:
    whole = wire(prefix, body(size))
    for end in range(len(whole)):
        with pytest.raises(MalformedFrame):
            decode(whole[:end])


@pytest.mark.parametrize("whole", [*(wire(prefix, body(5)) for prefix, _ in MESSAGES), b"\x03"])
@pytest.mark.parametrize("tail", [b"\x00", b"\x03", b"x" * 200])
def test_trailing_bytes_are_malformed(whole: bytes, tail: bytes) -> None:
    decode(whole)
    with pytest.raises(MalformedFrame):
        decode(whole + tail)


@pytest.mark.parametrize("prefix", [b"\x02", b"\x04", b"\x7f", b"\x80\x01", b"\x00\x03", b"\x00\x7f", b"\x00\x80\x01"])
def test_unknown_types_are_malformed(prefix: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode(wire(prefix, body(5)))


@given(st.binary(max_size=64))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        message = decode(data)
    except MalformedFrame:
        return
    assert isinstance(message, SyncStep1 | SyncStep2 | Update | Awareness | QueryAwareness | Hello)


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (protocol.sync_step_1, SyncStep1),
        (protocol.sync_step_2, SyncStep2),
        (protocol.update, Update),
        (protocol.awareness, Awareness),
    ],
)
@pytest.mark.parametrize("payload_size", [*range(3, 12), 124, 125, 126, 127, 65534, 65535, 65536, 65537])
def test_frames_are_rfc_6455_frames_of_one_message(
    build: Callable[[bytes], protocol.Frame], kind: Any, payload_size: int
) -> None:
    """Whatever the size: the length has three forms, and their borders are where frames go wrong."""
    head_size = 1 if kind is Awareness else 2
    size = next(
        size
        for size in range(max(0, payload_size - head_size - 3), payload_size)
        if head_size + len(write_varuint(size)) + size == payload_size
    )
    message = message_in(first_frame(build(body(size))))
    assert len(message) == payload_size
    assert decode(message) == kind(body(size))


def first_frame(frame: protocol.Frame) -> bytes:
    return frame.frame(0) if isinstance(frame, protocol.Shared) else frame


@pytest.mark.parametrize("size", [1, 2, 3])
def test_G7_a_large_message_goes_out_in_fragments_that_are_one_message(size: int) -> None:
    """RFC 6455 section 5.4: the first says what it is, the others continue it, the last is final."""
    content = body(size * protocol.FRAGMENT_BYTES + 1)
    message = protocol.sync_step_2(content)
    frames = [message.frame(position) for position in range(0, len(content), protocol.FRAGMENT_BYTES)]
    assert [frame[0] for frame in frames] == [0b0000_0010, *[0b0000_0000] * (size - 1), 0b1000_0000]
    assert messages_in(b"".join(frames)) == [wire(b"\x00\x01", content)]


def test_messages_are_joined_in_their_order_and_large_ones_stay_apart() -> None:
    large = protocol.update(body(protocol.FRAGMENT_BYTES + 1))
    small = [protocol.update(bytes((number,)) * (protocol.FRAGMENT_BYTES // 2 - 100)) for number in range(5)]
    pieces = protocol.joined([*small[:3], large, *small[3:]])
    assert [isinstance(piece, protocol.Shared) for piece in pieces] == [False, False, True, False]
    assert pieces[2] is large, "however many get it, they share it"
    assert [message for piece in pieces if isinstance(piece, bytes) for message in messages_in(piece)] == [
        message.head + message.body for message in small
    ]
