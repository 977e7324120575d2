"""An awareness update on the wire: which clients are on a board and what they show (pure).

Source: y-protocols PROTOCOL.md (awareness). Stock clients repeat every state that they hear, as their own JSON: what is
passed on must be fit to come back from any of them. So a state that is well-formed but too large is left out; only what
no client says by itself ends a connection.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, NamedTuple

from boardlog.wire import MalformedFrame, read_bytes, read_varuint, write_varuint

STATES_PER_UPDATE_MAX: Final = 1000
STATE_BYTES_MAX: Final = 32 * 1024
STATE_DEPTH_MAX: Final = 64
UPDATE_BYTES_MAX: Final = 256 * 1024
"""Where `encode_all` begins another update."""
CLOCK_MAX: Final = 2**31 - 1
"""No client gets there; one that is declared gone just below 2^53 could not answer with a higher clock."""

EMPTY: Final = b"\x00"
"""An awareness update without states: tells a quiet client that its server is alive (L16)."""
GONE: Final = b"null"
"""The state of a client that is not there any more."""

_CLIENT_MAX: Final = 1 << 53
_JSON_BRACKETS: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[\]{}]', re.DOTALL)


class State(NamedTuple):
    """One client's state in an update."""

    client: int
    clock: int
    json: bytes
    """The state as JSON; GONE if it is not there any more."""


def decode(data: bytes, known: Callable[[int], bytes | None] = lambda _client: None) -> list[State]:
    """Decode an awareness update. Raises MalformedFrame: invalid JSON would throw in every browser (G6).

    `known` returns a client's last state, which was checked: most states repeat it, byte for byte.
    """
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
            before = known(client)
            states.append(State(client, clock, before if before == text else _checked(text)))
    if position != len(data):
        raise MalformedFrame(f"{len(data) - position} bytes follow the awareness update.")
    return states


def encode(states: Iterable[State]) -> bytes:
    """Encode an awareness update."""
    return update_of([encode_one(state) for state in states])


def encode_all(states: Iterable[State]) -> Iterator[bytes]:
    """Encode states as awareness updates that every reader takes."""
    return updates_of(map(encode_one, states))


def encode_one(state: State) -> bytes:
    """Encode one state, as it stands in any update."""
    client, clock, text = state
    return b"".join((write_varuint(client), write_varuint(clock), write_varuint(len(text)), text))


def update_of(parts: Collection[bytes]) -> bytes:
    """Return the update that consists of these encoded states."""
    return b"".join((write_varuint(len(parts)), *parts))


def updates_of(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Return the updates, such as every reader takes, that consist of these encoded states."""
    some: list[bytes] = []
    size = 0
    for part in parts:
        if some and (len(some) == STATES_PER_UPDATE_MAX or size + len(part) > UPDATE_BYTES_MAX):
            yield update_of(some)
            some, size = [], 0
        some.append(part)
        size += len(part)
    if some:
        yield update_of(some)


def _checked(text: bytes) -> bytes:
    if text.count(b"[") + text.count(b"{") > STATE_DEPTH_MAX:  # those in strings, and side by side, count too
        _check_depth(text)
    try:
        state = _JSON.decode(text.decode("utf-8"))
    except ValueError as error:
        raise MalformedFrame("An awareness state is not JSON.") from error
    if state is not None and not isinstance(state, dict):
        raise MalformedFrame("An awareness state is neither an object nor null.")
    return GONE if state is None else text


def _check_depth(text: bytes) -> None:
    depth = 0
    for token in _JSON_BRACKETS.finditer(text):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > STATE_DEPTH_MAX:
            raise MalformedFrame(f"An awareness state is nested more than {STATE_DEPTH_MAX} levels deep.")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)
