"""What processes tell each other on a board's presence channel: awareness states, or a question (pure)."""

from enum import IntEnum

import msgpack

from boardlog.wire import MalformedFrame

ENVELOPE_BYTES_MAX = 8 * 1024 * 1024


class Kind(IntEnum):
    """What a message is."""

    STATES = 0
    """An awareness update: states of clients that the sender answers for."""
    QUERY = 1
    """Whoever answers for clients on this board should tell their states."""


def pack(sender: str, kind: Kind, body: bytes = b"") -> bytes:
    """Return the message. `sender` is one process' own name, fresh at every start."""
    packed: bytes = msgpack.packb((sender, kind.value, body))
    return packed


def unpack(message: bytes) -> tuple[str, Kind, bytes]:
    """Return sender, kind and body. Raises MalformedFrame."""
    try:
        sender, kind, body = msgpack.unpackb(message, max_bin_len=ENVELOPE_BYTES_MAX)
        if isinstance(sender, str) and isinstance(body, bytes):
            return sender, Kind(kind), body
    except (ValueError, TypeError, msgpack.UnpackException):
        pass
    raise MalformedFrame("A presence message is not what a process of this version sends.")
