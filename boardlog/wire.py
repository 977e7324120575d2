"""lib0's numbers and byte strings as y-protocols messages carry them: sync, awareness (pure).

Source: y-protocols PROTOCOL.md; lib0 `encoding.js`, `decoding.js`.
"""

from typing import Final

from boardlog.errors import BoardLogError, InvalidUpdate
from boardlog.lib0 import read_varint

VARUINT_BYTES_MAX: Final = 8
"""53 bits, what JavaScript counts exactly, take 8 bytes of 7."""
_VARUINT_MAX: Final = 2 ** (7 * VARUINT_BYTES_MAX) - 1


class MalformedFrame(BoardLogError, ValueError):
    """A frame that is no y-protocols message (4400)."""


def read_varuint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at `position` and the position behind it. Raises MalformedFrame; linear, bounded."""
    try:
        return read_varint(data, position, _VARUINT_MAX)
    except (IndexError, InvalidUpdate):
        raise MalformedFrame(f"There is no whole number at byte {position}.") from None


def write_varuint(value: int) -> bytes:
    """Encode a number, 7 bits a byte, low bits first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_bytes(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the length-prefixed bytes at `position` and the position behind them. Raises MalformedFrame."""
    length, start = read_varuint(data, position)
    end = start + length
    if end > len(data):
        raise MalformedFrame(f"{length} bytes are announced at byte {position}, {len(data) - start} follow.")
    return data[start:end], end


def with_length(data: bytes) -> bytes:
    """Return bytes behind their length, as `read_bytes` takes them."""
    return write_varuint(len(data)) + data
