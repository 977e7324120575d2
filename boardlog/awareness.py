"""An awareness update on the wire: which clients are on a board and what they show (pure).

Source: y-protocols PROTOCOL.md (awareness). Stock clients repeat every state that they hear, as their own JSON: what is
passed on must be fit to come back from any of them. So a state that is well-formed but too large is left out; only what
no client says by itself ends a connection.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from boardlog.wire import MalformedFrame, read_bytes, read_varuint, with_length, write_varuint

STATES_PER_UPDATE_MAX = 1000
STATE_BYTES_MAX = 32 * 1024
STATE_DEPTH_MAX = 64
UPDATE_BYTES_MAX = 256 * 1024
"""Where `encode_all` begins another update."""
CLOCK_MAX = 2**31 - 1
"""No client gets there; one that is declared gone just below 2^53 could not answer with a higher clock."""

EMPTY = b"\x00"
"""An awareness update without states: tells a quiet client that its server is alive (L16)."""
GONE = b"null"
"""The state of a client that is not there any more."""

_CLIENT_MAX = 1 << 53
_JSON_BRACKETS = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[\]{}]', re.DOTALL)


class State(NamedTuple):
    """One client's state in an update."""

    client: int
    clock: int
    json: bytes
    """The state as JSON; GONE if it is not there any more."""


def decode(data: bytes) -> list[State]:
    """Decode an awareness update. Raises MalformedFrame: invalid JSON would throw in every browser (G6)."""
    count, position = read_varuint(data, 0)
    if count > STATES_PER_UPDATE_MAX:
        raise MalformedFrame(f"{count} states in one awareness update are more than {STATES_PER_UPDATE_MAX}.")
    states = []
    for _ in range(count):
        client, position = read_varuint(data, position)
        clock, position = read_varuint(data, position)
        text, position = read_bytes(data, position)
        if client >= _CLIENT_MAX:
            raise MalformedFrame("An awareness client is larger than 53 bits.")
        if clock <= CLOCK_MAX and len(text) <= STATE_BYTES_MAX:
            states.append(State(client, clock, _checked(text)))
    if position != len(data):
        raise MalformedFrame(f"{len(data) - position} bytes follow the awareness update.")
    return states


def encode(states: Iterable[State]) -> bytes:
    """Encode an awareness update."""
    parts = [part for s in states for part in (write_varuint(s.client), write_varuint(s.clock), with_length(s.json))]
    return b"".join((write_varuint(len(parts) // 3), *parts))


def encode_all(states: Iterable[State]) -> Iterator[bytes]:
    """Encode states as awareness updates that every reader takes."""
    some: list[State] = []
    size = 0
    for state in states:
        if some and (len(some) == STATES_PER_UPDATE_MAX or size + len(state.json) > UPDATE_BYTES_MAX):
            yield encode(some)
            some, size = [], 0
        some.append(state)
        size += len(state.json)
    if some:
        yield encode(some)


def _checked(text: bytes) -> bytes:
    depth = 0
    for token in _JSON_BRACKETS.finditer(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > STATE_DEPTH_MAX:
            raise MalformedFrame(f"An awareness state is nested more than {STATE_DEPTH_MAX} levels deep.")
    try:
        state = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
    except ValueError as error:
        raise MalformedFrame("An awareness state is not JSON.") from error
    if state is not None and not isinstance(state, dict):
        raise MalformedFrame("An awareness state is neither an object nor null.")
    return GONE if state is None else text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
