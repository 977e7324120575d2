"""The wire: y-protocols messages in WebSocket binary frames, and one of our own (pure).

Source: y-protocols PROTOCOL.md (sync and awareness); RFC 6455 section 5.2 for the frame around them. Our own message
tells a client what is saved (L11), if it asked: stock clients know no type 100, and never see one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from boardlog.wire import MalformedFrame, read_bytes, read_varuint, write_varuint

_SYNC: Final = 0
_AWARENESS: Final = 1
_QUERY_AWARENESS: Final = 3
_SAVING: Final = 100

_STEP_1: Final = 0
_STEP_2: Final = 1
_UPDATE: Final = 2

_HELLO: Final = 0
_SAVED: Final = 1
_UNSAVED: Final = 2
_HELLO_VERSION: Final = 1

_UPDATE_HEAD: Final = bytes((_SYNC, _UPDATE))
"""How nearly all messages begin."""

FRAGMENT_BYTES: Final = 128 * 1024
"""A larger message goes out in fragments of this size: between two of them there is room for a ping or a close."""


@dataclass(frozen=True, slots=True)
class SyncStep1:
    """The peer tells what it has and asks for the rest."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class SyncStep2:
    """The answer: what the peer that asked lacks."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """A change."""

    update: bytes


@dataclass(frozen=True, slots=True)
class Awareness:
    """States of clients, as an awareness update."""

    update: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """The peer asks for all states."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The peer wants to be told what is saved (L11)."""


Message = SyncStep1 | SyncStep2 | Update | Awareness | QueryAwareness | Hello


@dataclass(frozen=True, slots=True)
class Shared:
    """A message that is framed only when it is taken: however many clients wait for it, they share its body.

    One of more than FRAGMENT_BYTES goes out in fragments; only control frames may come between them (RFC 6455
    section 5.4).
    """

    head: bytes
    body: bytes

    def __len__(self) -> int:
        """Return the size of the message in bytes, without its framing."""
        return len(self.head) + len(self.body)

    def frame(self, position: int) -> bytes:
        """Return the frame with the part of the body from `position` on, at most FRAGMENT_BYTES of it."""
        end = position + FRAGMENT_BYTES
        head = b"" if position else self.head
        part = memoryview(self.body)[position:end]
        kind = (_FINAL if end >= len(self.body) else 0) | (_CONTINUATION if position else _BINARY)
        return b"".join((_opening(kind, len(head) + len(part)), head, part))


Frame = bytes | Shared
"""What is sent: whole WebSocket frames, one or several, ready to be written; or a message that many may wait for."""


def decode(data: bytes) -> Message:
    """Decode one message, which must fill the frame. Raises MalformedFrame."""
    if data.startswith(_UPDATE_HEAD):
        body, position = read_bytes(data, len(_UPDATE_HEAD))
        if position == len(data):
            return Update(body)
    kind, position = read_varuint(data, 0)
    if kind == _QUERY_AWARENESS:
        message: Message = QueryAwareness()
    elif kind == _AWARENESS:
        body, position = read_bytes(data, position)
        message = Awareness(body)
    elif kind == _SYNC:
        step, position = read_varuint(data, position)
        body, position = read_bytes(data, position)
        if step not in _SYNC_STEPS:
            raise MalformedFrame(f"There is no sync message of type {step}.")
        message = _SYNC_STEPS[step](body)
    elif kind == _SAVING:
        message, position = Hello(), _after_hello(data, position)
    else:
        raise MalformedFrame(f"There is no message of type {kind}.")
    if position != len(data):
        raise MalformedFrame(f"{len(data) - position} bytes follow the message.")
    return message


def _after_hello(data: bytes, position: int) -> int:
    """Return the position behind a Hello. A newer version may say more: it is answered as the first one."""
    kind, position = read_varuint(data, position)
    version, position = read_varuint(data, position)
    if kind != _HELLO or version < _HELLO_VERSION:
        raise MalformedFrame(f"There is no message of type {_SAVING}, {kind}, {version}.")
    return position if version == _HELLO_VERSION else len(data)


_SYNC_STEPS: Final[dict[int, type[SyncStep1 | SyncStep2 | Update]]] = {
    _STEP_1: SyncStep1,
    _STEP_2: SyncStep2,
    _UPDATE: Update,
}


def sync_step_1(state_vector: bytes) -> bytes:
    """Return the frame that asks a client for what the log lacks."""
    return _frame(_head((_SYNC, _STEP_1), state_vector), state_vector)


def sync_step_2(update: bytes) -> Shared:
    """Return the message that ends the answer to a client's SyncStep1."""
    return Shared(_head((_SYNC, _STEP_2), update), update)


def update(body: bytes) -> Shared:
    """Return the message that carries a change."""
    return Shared(_head((_SYNC, _UPDATE), body), body)


def joined(messages: Iterable[Shared]) -> list[Frame]:
    """Frame small messages, and join them to pieces of at most FRAGMENT_BYTES; large ones stay as they are."""
    pieces: list[Frame] = []
    small: list[bytes] = []
    small_bytes = 0
    for message in messages:
        if small and small_bytes + len(message) > FRAGMENT_BYTES:
            pieces.append(b"".join(small))
            small, small_bytes = [], 0
        if len(message) > FRAGMENT_BYTES:
            pieces.append(message)
        else:
            small.append(message.frame(0))
            small_bytes += len(message)
    if small:
        pieces.append(b"".join(small))
    return pieces


def awareness(body: bytes) -> bytes:
    """Return the frame that carries an awareness update."""
    return _frame(_head((_AWARENESS,), body), body)


def welcome(*, can_append: bool) -> bytes:
    """Return the frame that answers a Hello: whether this client may change the board."""
    return _frame(bytes((_SAVING, _HELLO, can_append)))


def saved(count: int) -> bytes:
    """Return the frame that tells how many of a client's changes on this socket are settled (L11)."""
    return _frame(bytes((_SAVING, _SAVED)) + write_varuint(count))


def unsaved() -> bytes:
    """Return the frame that takes back what was told to be saved: the log lost history (L6)."""
    return _frame(bytes((_SAVING, _UNSAVED)))


PING: Final = bytes((0x89, 0))


def pong(payload: bytes) -> bytes:
    """Return the frame that answers a ping, whose payload has at most 125 bytes."""
    return bytes((0x8A, len(payload))) + payload


def close(code: int, reason: str) -> bytes:
    """Return a close frame; the reason is cut to the 123 bytes that fit (RFC 6455 section 5.5)."""
    body = code.to_bytes(2, "big") + fit_reason(reason)
    return bytes((0x88, len(body))) + body


def fit_reason(reason: str) -> bytes:
    """Cut a close reason to the 123 bytes that a close frame holds."""
    return reason.encode()[:123].decode(errors="ignore").encode()


_FINAL: Final = 0x80
_CONTINUATION: Final = 0
_BINARY: Final = 2


def _head(kind: Iterable[int], body: bytes) -> bytes:
    return bytes(kind) + write_varuint(len(body))


def _frame(head: bytes, body: bytes = b"") -> bytes:
    """Return a whole, unmasked, final binary WebSocket frame, ready for any number of sockets."""
    return b"".join((_opening(_FINAL | _BINARY, len(head) + len(body)), head, body))


def _opening(kind: int, size: int) -> bytes:
    """Return how a frame of this size begins (RFC 6455 section 5.2)."""
    if size < 126:
        return bytes((kind, size))
    if size < 65536:
        return bytes((kind, 126)) + size.to_bytes(2, "big")
    return bytes((kind, 127)) + size.to_bytes(8, "big")
