"""The load's WebSocket: what it sends a server understands, what a server sends it takes, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.frames import BINARY, CONTINUATION, PING, Frame, FrameReader, masked
from relay import protocol

SIZES = [0, 1, 125, 126, 127, 65535, 65536, 200_000]


def unmasked(frame: bytes) -> bytes:
    """Take a client's frame apart as RFC 6455 section 5.2 says."""
    assert frame[1] & 0x80, "a client masks"
    size, begin = frame[1] & 0x7F, 2
    if size >= 126:
        begin = 4 if size == 126 else 10
        size = int.from_bytes(frame[2:begin], "big")
    mask, payload = frame[begin : begin + 4], frame[begin + 4 :]
    assert len(payload) == size
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@pytest.mark.parametrize("size", SIZES)
def test_a_server_reads_what_is_sent(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    assert unmasked(masked(payload)) == payload


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_the_relay_is_taken_whole(size: int) -> None:
    payload = bytes(index % 251 for index in range(size))
    message = protocol.Shared(b"", payload)
    frames = [message.frame(at) for at in range(0, max(1, size), protocol.FRAGMENT_BYTES)]
    taken = FrameReader().feed(b"".join(frames))
    assert b"".join(frame.payload for frame in taken) == payload
    assert [frame.opcode for frame in taken] == [BINARY] + [CONTINUATION] * (len(frames) - 1)
    assert [frame.is_final for frame in taken] == [False] * (len(frames) - 1) + [True]


@given(st.lists(st.integers(0, 300), max_size=8), st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_whole_however_the_bytes_are_cut(sizes: list[int], cuts: list[int]) -> None:
    sent = [Frame(is_final=True, opcode=PING, payload=bytes((size % 251,)) * size) for size in sizes]
    wire = b"".join(_unmasked_frame(frame) for frame in sent)
    reader, taken, position, turn = FrameReader(), [], 0, 0
    while position < len(wire):
        step = cuts[turn % len(cuts)]
        taken += reader.feed(wire[position : position + step])
        position, turn = position + step, turn + 1
    assert taken == sent


def _unmasked_frame(frame: Frame) -> bytes:
    size = len(frame.payload)
    length = bytes((size,)) if size < 126 else bytes((126,)) + size.to_bytes(2, "big")
    return bytes((0x80 | frame.opcode,)) + length + frame.payload
