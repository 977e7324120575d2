"""The y-protocols messages of a stock client, and the relay's own of what is saved (pure)."""

from boardlog.wire import read_bytes, read_varuint, with_length

STEP_1, STEP_2, UPDATE, AWARENESS, SAVED = b"\x00\x00", b"\x00\x01", b"\x00\x02", b"\x01", b"\x64\x01"
CHANGES = (STEP_2, UPDATE)
"""What the relay counts when it says what is saved."""
HELLO = b"\x64\x00\x01"
"""Asks to be told how many changes are in the log."""
EMPTY_UPDATE = b"\x00\x00"
EMPTY_STATE_VECTOR = b"\x00"


def step_1(state_vector: bytes) -> bytes:
    """Return the message that tells what a client has and asks for the rest."""
    return STEP_1 + with_length(state_vector)


def step_2(update: bytes) -> bytes:
    """Return the message that answers a server's question."""
    return STEP_2 + with_length(update)


def update(body: bytes) -> bytes:
    """Return the message of a change."""
    return UPDATE + with_length(body)


def awareness(body: bytes) -> bytes:
    """Return the message of an awareness update."""
    return AWARENESS + with_length(body)


def body_of(message: bytes) -> bytes:
    """Return what a sync message carries. Raises MalformedFrame."""
    return read_bytes(message, 2)[0]


def count_of(message: bytes) -> int:
    """Return how many changes a Saved message says are in the log. Raises MalformedFrame."""
    return read_varuint(message, 2)[0]
