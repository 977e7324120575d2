"""WebSocket frames as a client sends and takes them (pure). Source: RFC 6455 section 5.2."""

from typing import NamedTuple

CONTINUATION, BINARY, CLOSE, PING, PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
_MASK = b"\0\0\0\0"
"""A mask of zeros is a mask: the bytes need no change, and the server still unmasks them."""


class Frame(NamedTuple):
    """A frame that was taken."""

    is_final: bool
    opcode: int
    payload: bytes


def masked(payload: bytes, opcode: int = BINARY) -> bytes:
    """Return the one frame that carries this payload to a server."""
    size = len(payload)
    if size < 126:
        head = bytes((_FINAL | opcode, _MASKED | size))
    elif size < 65536:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return b"".join((head, _MASK, payload))


class FrameReader:
    """Takes a server's bytes as they come, gives whole frames."""

    def __init__(self) -> None:
        """Begin behind the answer to the upgrade."""
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole now. A server masks nothing, and nothing else is looked at."""
        if self._rest:
            data = self._rest + data
        frames = []
        position, size = 0, len(data)
        while position + 2 <= size:
            first, length = data[position], data[position + 1]
            begin = position + 2
            if length >= 126:
                begin += 2 if length == 126 else 8
                if begin > size:
                    break
                length = int.from_bytes(data[position + 2 : begin], "big")
            end = begin + length
            if end > size:
                break
            frames.append(Frame(first >= _FINAL, first & 0x0F, data[begin:end]))
            position = end
        self._rest = data[position:]
        return frames
