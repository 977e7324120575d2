"""What a client sends, cut into messages: WebSocket framing, the server's side of reading (pure).

Source: RFC 6455 section 5. Extensions are not negotiated, so no reserved bit may be set.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from boardlog.errors import BoardLogError


class Opcode(IntEnum):
    """What a frame is."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Message(NamedTuple):
    """A whole message, put together if it came in fragments, or a control frame."""

    opcode: int
    payload: bytes


class BadFrame(BoardLogError):
    """What came is no WebSocket frame that a client may send: the connection has to be closed with `code`."""

    def __init__(self, reason: str, code: int) -> None:
        """Say what is wrong in a sentence."""
        super().__init__(reason)
        self.code = code


class TooLarge(BoardLogError):
    """A message is larger than this server takes."""


PIECES_MAX: Final = 1000
"""Of what has come of a frame: each costs some 40 bytes beside its own, however few those are."""
PROTOCOL_ERROR: Final = 1002
NOT_UTF8: Final = 1007
"""Close codes of RFC 6455 section 7.4.1."""

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_OPCODE: Final = 0x0F
_MASKED: Final = 0x80
_SIZE: Final = 0x7F
_MASK_BYTES: Final = 4
_CONTROL_BYTES_MAX: Final = 125
_FINAL_BINARY: Final = _FINAL | Opcode.BINARY
_KNOWN: Final = frozenset(Opcode)
_MORE_FOLLOWS: Final = Message(Opcode.CONTINUATION, b"")


class FrameReader:
    """Takes bytes as they come, gives messages one by one. What has not been asked for stays as it came."""

    __slots__ = ("_data", "_fragments", "_have", "_kind", "_later", "_max", "_position", "_wanted")

    def __init__(self, message_bytes_max: int) -> None:
        """Refuse messages of more than `message_bytes_max`, fragmented or not, as soon as that shows."""
        self._max = message_bytes_max
        self._data = b""
        self._position = 0
        self._later: list[bytes] | None = None
        """What came while a frame was not there yet, joined once it is: a large one comes in thousands of pieces."""
        self._have = 0
        """Bytes from the position on, those that came later included."""
        self._wanted = 2
        """How many it takes to go on."""
        self._kind = Opcode.CONTINUATION
        self._fragments: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes off the wire."""
        if not self._have:
            self._data, self._position = data, 0
        elif self._later is None:
            # Of what was read with the frames before it, only the rest is kept.
            self._data, self._position = self._data[self._position :], 0
            self._later = [data]
        else:
            self._later.append(data)
            if len(self._later) > PIECES_MAX:
                self._later = [b"".join(self._later)]
        self._have += len(data)

    def next(self) -> Message | None:
        """Return the next message, None if it has not come whole. Raises BadFrame, TooLarge; then ask no more.

        Each frame of a message in fragments gives one, empty and a CONTINUATION until it is whole: whoever asks so many
        times a turn takes so many frames (G7).
        """
        if self._have < self._wanted:
            return None
        if self._later is not None:
            self._data = b"".join((self._data[self._position :], *self._later))
            self._position, self._later = 0, None
        frame = self._frame()
        if frame is None:
            return None
        first, payload = frame
        if first == _FINAL_BINARY and self._fragments is None:
            return Message(Opcode.BINARY, payload)
        return self._control(first, payload) if first & 8 else self._data_frame(first, payload)

    def _frame(self) -> tuple[int, bytes] | None:
        """Take one frame off: its first byte and its unmasked payload; None if it is not there yet."""
        data, at = self._data, self._position
        first, second = data[at], data[at + 1]
        size, begin = second & _SIZE, at + 2
        if size > _CONTROL_BYTES_MAX:
            begin += 2 if size == 126 else 8
            if self._have < begin - at:
                self._wanted = begin - at
                return None
            size = int.from_bytes(data[at + 2 : begin], "big")
        self._check(first, second, size)
        end = begin + _MASK_BYTES + size
        if self._have < end - at:
            self._wanted = end - at
            return None
        body = begin + _MASK_BYTES
        # One exclusive or of two long numbers is the fastest that Python has.
        mask = data[begin:body] * (size // _MASK_BYTES + 1)
        masked = int.from_bytes(data[body:end], "little") ^ int.from_bytes(mask[:size], "little")
        self._position = end
        self._have -= end - at
        self._wanted = 2
        if not self._have:
            self._data = b""
        return first, masked.to_bytes(size, "little")

    def _check(self, first: int, second: int, size: int) -> None:
        opcode = first & _OPCODE
        if first & _RESERVED or opcode not in _KNOWN:
            raise BadFrame(f"A frame begins with byte {first}, which means nothing here.", PROTOCOL_ERROR)
        if not second & _MASKED:
            raise BadFrame("A client has to mask its frames.", PROTOCOL_ERROR)
        if opcode & 8:
            if size > _CONTROL_BYTES_MAX or not first & _FINAL:
                raise BadFrame("A control frame is too large, or comes in fragments.", PROTOCOL_ERROR)
        elif size + len(self._fragments or b"") > self._max:
            raise TooLarge(f"One message may have {self._max} bytes.")

    def _data_frame(self, first: int, payload: bytes) -> Message:
        """Take in a fragment, or a message that is not a binary one; return what it completes."""
        opcode = first & _OPCODE
        if (opcode == Opcode.CONTINUATION) is (self._fragments is None):
            raise BadFrame("A message begins inside another one, or goes on that has not begun.", PROTOCOL_ERROR)
        if self._fragments is None:
            self._kind, self._fragments = Opcode(opcode), bytearray()
        self._fragments += payload
        if not first & _FINAL:
            return _MORE_FOLLOWS
        whole, self._fragments = bytes(self._fragments), None
        return Message(self._kind, whole)

    def _control(self, first: int, payload: bytes) -> Message:
        opcode = first & _OPCODE
        if opcode == Opcode.CLOSE and payload:
            check_close(payload)
        return Message(opcode, payload)


def check_close(payload: bytes) -> None:
    """Raise BadFrame unless a close frame's payload is a code that may be sent, and a reason (section 5.5.1)."""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not ((1000 <= code < 1015 and code not in {1004, 1005, 1006}) or 3000 <= code < 5000):
        raise BadFrame("A close frame has no code that a client may send.", PROTOCOL_ERROR)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise BadFrame("The reason of a close frame is not UTF-8.", NOT_UTF8) from None
