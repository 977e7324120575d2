"""Numbers and byte strings in messages, as lib0 encodes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boardlog.errors import InvalidUpdate
from boardlog.lib0 import read_varint
from boardlog.wire import VARUINT_BYTES_MAX, MalformedFrame, read_bytes, read_varuint, write_varuint


@given(st.integers(0, 2 ** (7 * VARUINT_BYTES_MAX) - 1))
def test_numbers_make_the_round_trip(number: int) -> None:
    encoded = write_varuint(number)
    assert read_varuint(b"\xff" + encoded + b"\xff", 1) == (number, 1 + len(encoded))


def test_numbers_are_little_endian_groups_of_seven_bits() -> None:
    assert write_varuint(0) == b"\x00"
    assert write_varuint(127) == b"\x7f"
    assert write_varuint(128) == b"\x80\x01"
    assert write_varuint(2**53 - 1) == b"\xff\xff\xff\xff\xff\xff\xff\x0f"


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 7, b"\xff" * 8 + b"\x01", b"\x80" * 1_000_000])
def test_a_number_that_does_not_end_in_time_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        read_varuint(data, 0)


def test_a_huge_number_is_given_up_after_eight_bytes() -> None:
    with pytest.raises(IndexError):
        read_varint(b"\xff" * (VARUINT_BYTES_MAX - 1), 0, 2**60)
    with pytest.raises(InvalidUpdate, match="more than 8 bytes"):  # it does not look for a ninth
        read_varint(b"\xff" * VARUINT_BYTES_MAX, 0, 2**60)


def test_an_announced_length_is_not_believed() -> None:
    with pytest.raises(MalformedFrame):
        read_bytes(write_varuint(2**53 - 1) + b"abc", 0)
    assert read_bytes(b"\x03abcd", 0) == (b"abc", 4)
