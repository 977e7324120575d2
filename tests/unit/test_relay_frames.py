"""What comes off the wire becomes messages, however it is cut; what no client may send is refused (G6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.frames import BadFrame, FrameReader, Message, Opcode, TooLarge
from tests.clientframes import client_frame

MAX = 1000


def read(reader: FrameReader) -> list[Message]:
    messages = []
    while (message := reader.next()) is not None:
        if message.opcode != Opcode.CONTINUATION:  # more of that message follows
            messages.append(message)
    return messages


@given(
    payloads=st.lists(st.binary(max_size=MAX), max_size=6),
    key=st.binary(min_size=4, max_size=4),
    cuts=st.lists(st.integers(1, 300), max_size=40),
)
def test_messages_come_whole_however_the_bytes_are_cut(payloads: list[bytes], key: bytes, cuts: list[int]) -> None:
    reader = FrameReader(MAX)
    wire = b"".join(client_frame(payload, key=key) for payload in payloads)
    messages: list[Message] = []
    for cut in cuts:
        reader.feed(wire[:cut])
        wire = wire[cut:]
        messages += read(reader)
    reader.feed(wire)
    messages += read(reader)
    assert messages == [Message(Opcode.BINARY, payload) for payload in payloads]


def test_a_message_larger_than_two_reads_comes_whole() -> None:
    reader = FrameReader(1 << 20)
    payload = bytes(range(256)) * 4000
    wire = client_frame(payload, key=b"\x01\x02\x03\x04")
    for start in range(0, len(wire), 1000):
        assert read(reader) == []
        reader.feed(wire[start : start + 1000])
    assert read(reader) == [Message(Opcode.BINARY, payload)]


def test_fragments_become_one_message_and_a_ping_may_come_between_them() -> None:
    reader = FrameReader(MAX)
    reader.feed(
        client_frame(b"ab", final=False) + client_frame(b"?", opcode=9) + client_frame(b"", opcode=0, final=False)
    )
    reader.feed(client_frame(b"c", opcode=0) + client_frame(b"text", opcode=1))
    assert read(reader) == [
        Message(Opcode.PING, b"?"),
        Message(Opcode.BINARY, b"abc"),
        Message(Opcode.TEXT, b"text"),
    ]


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (client_frame(b"x", bits=0x40), 1002),
        (client_frame(b"x", opcode=3), 1002),
        (client_frame(b"x", key=None), 1002),
        (client_frame(b"x", opcode=9, final=False), 1002),
        (client_frame(b"x" * 126, opcode=9), 1002),
        (client_frame(b"x", opcode=0), 1002),
        (client_frame(b"x", final=False) + client_frame(b"x"), 1002),
        (client_frame(b"\x03", opcode=8), 1002),
        (client_frame((1005).to_bytes(2, "big"), opcode=8), 1002),
        (client_frame((1000).to_bytes(2, "big") + b"\xff", opcode=8), 1007),
    ],
)
def test_G6_what_no_client_may_send_is_refused_with_a_code(wire: bytes, code: int) -> None:
    reader = FrameReader(MAX)
    reader.feed(client_frame(b"before") + wire)
    assert reader.next() == Message(Opcode.BINARY, b"before"), "what came before it counts"
    with pytest.raises(BadFrame) as refused:
        read(reader)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "wire",
    [
        client_frame(b"", claim=MAX + 1),
        client_frame(b"", claim=2**63),
        client_frame(b"x" * MAX, final=False) + client_frame(b"", opcode=0, claim=1),
    ],
)
def test_G6_a_message_that_will_be_too_large_is_refused_before_it_has_come(wire: bytes) -> None:
    reader = FrameReader(MAX)
    reader.feed(wire)
    with pytest.raises(TooLarge):
        read(reader)


def test_a_message_may_have_as_many_bytes_as_is_said() -> None:
    reader = FrameReader(MAX)
    reader.feed(client_frame(b"x" * MAX))
    assert read(reader) == [Message(Opcode.BINARY, b"x" * MAX)]


def test_G7_fragments_that_say_nothing_are_one_step_each() -> None:
    """Whoever reads so many messages a turn of the loop is not held up by frames that complete none."""
    reader = FrameReader(MAX)
    reader.feed(client_frame(b"", final=False) + client_frame(b"", opcode=0, final=False) * 1000)
    assert reader.next() == Message(Opcode.CONTINUATION, b"")
    assert reader.next() == Message(Opcode.CONTINUATION, b"")
