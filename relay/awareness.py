"""Merged awareness: which clients are on a board and what they show, by client and clock (pure).

Presence is never logged. Every node holds all states of a board: those of its own members, which it answers for, and
those that other nodes told it of. Source: y-protocols awareness.js; a node knows more than a client, so it differs:

- A state is owned by the member that raised its clock last, or that introduced itself with it. Only its owner takes it
  away without raising the clock: stock clients repeat what they hear, and forget each other after 30 s. While a client
  moves, two nodes may own it; the one that still has it then has it raise its clock.
- A client that comes back with a clock at which it was declared gone would stay invisible to the others. It is shown
  its own absence, and answers, as every stock client does, with a higher clock at once.

Stock clients repeat every state that they hear, as their own JSON: what is passed on must be fit to come back from any
of them. So a state that is well-formed but too large is left out; only what no client says by itself ends a connection.
"""

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from relay.protocol import MalformedFrame, read_bytes, read_varuint, write_varuint

STATES_PER_UPDATE_MAX = 1000
STATE_BYTES_MAX = 32 * 1024
STATE_DEPTH_MAX = 64
UPDATE_BYTES_MAX = 256 * 1024
"""Where `encode_all` begins another update."""
CLOCK_MAX = 2**31 - 1
"""No client gets there; one that is declared gone just below 2^53 could not answer with a higher clock."""
CLIENTS_PER_BOARD_MAX = 5000
EXPIRY_SECONDS = 45.0
"""A remote state that is not renewed for this long is gone: its node died. Clients renew every 15 s."""

EMPTY = b"\x00"
"""An awareness update without states: tells a quiet client that its server is alive (L16)."""

_GONE = b"null"
_CLIENT_MAX = 1 << 53
_JSON_BRACKETS = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[\]{}]', re.DOTALL)


class State(NamedTuple):
    """One client's state in an update."""

    client: int
    clock: int
    json: bytes
    """The state as JSON; b"null" means gone."""


@dataclass(slots=True)
class _Known:
    clock: int
    json: bytes
    owner: object
    """The local member, or the name of the remote node, that answers for this client."""
    heard_at: float


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
    parts = [part for s in states for part in (write_varuint(s.client), write_varuint(s.clock), _with_length(s.json))]
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


def _with_length(text: bytes) -> bytes:
    return write_varuint(len(text)) + text


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
    return _GONE if state is None else text


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _may_take_over(owner: object, known: object) -> bool:
    """Not a node from a member of ours: what two nodes say of a client may cross on its way, and none would own it."""
    return owner != known and (isinstance(known, str) or not isinstance(owner, str))


class Merged(NamedTuple):
    """What a merge changed."""

    changed: list[int]
    """Clients whose state everyone should hear of."""
    absences: list[State]
    """To show to the sender alone: it was declared gone at this clock, and has to raise it."""
    disputed: list[tuple[Any, State]]
    """To show to the owner alone: another node declares its client gone at its very clock."""


class AwarenessStates:
    """All states of one board on one node."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._known: dict[int, _Known] = {}

    def merge(self, states: Iterable[State], owner: object, now: float, *, introduces: bool = False) -> Merged:
        """Take in states that `owner` sent at `now` (seconds). `introduces`: it speaks of its own clients."""
        changed: list[int] = []
        absences: list[State] = []
        disputed: list[tuple[Any, State]] = []
        for state in states:
            known = self._known.get(state.client)
            if known is None or state.clock > known.clock:
                if self._accept(state, owner, now, known):
                    changed.append(state.client)
            elif state.json == _GONE:
                if state.clock < known.clock or known.json == _GONE:
                    continue
                if known.owner == owner:
                    known.json, known.heard_at = _GONE, now
                    changed.append(state.client)
                elif introduces:
                    disputed.append((known.owner, state))
            elif known.json == _GONE:
                absences.append(State(state.client, known.clock, _GONE))
            elif introduces and state.clock == known.clock and _may_take_over(owner, known.owner):
                known.owner, known.heard_at = owner, now
                changed.append(state.client)
        return Merged(changed, absences, disputed)

    def _accept(self, state: State, owner: object, now: float, known: _Known | None) -> bool:
        if known is None and (state.json == _GONE or len(self._known) >= CLIENTS_PER_BOARD_MAX):
            return False
        self._known[state.client] = _Known(state.clock, state.json, owner, now)
        return True

    def leave(self, owner: object, now: float) -> list[int]:
        """Declare gone whatever `owner` answers for; return the clients."""
        gone = [client for client, known in self._known.items() if known.owner == owner and known.json != _GONE]
        for client in gone:
            known = self._known[client]
            known.json, known.heard_at = _GONE, now
        return gone

    def expire(self, local_owners: Container[object], now: float) -> list[int]:
        """Declare gone what no node renews, and forget who has been gone for as long; return the newly gone."""
        gone: list[int] = []
        for client, known in list(self._known.items()):
            if now - known.heard_at < EXPIRY_SECONDS or (known.json != _GONE and known.owner in local_owners):
                continue
            if known.json == _GONE:
                del self._known[client]
            else:
                known.json, known.heard_at = _GONE, now
                gone.append(client)
        return gone

    def states(self, clients: Iterable[int]) -> list[State]:
        """Return the states of these clients, gone ones too."""
        return [State(c, known.clock, known.json) for c in clients if (known := self._known.get(c)) is not None]

    def present(self) -> list[State]:
        """Return the states of everyone who is there."""
        return [State(c, known.clock, known.json) for c, known in self._known.items() if known.json != _GONE]

    def owned_by(self, clients: Iterable[int], is_ours: Callable[[object], bool]) -> list[State]:
        """Return the states of those clients whose owner is one of ours."""
        return [
            State(c, known.clock, known.json)
            for c in clients
            if (known := self._known.get(c)) is not None and is_ours(known.owner)
        ]

    def clients(self) -> list[int]:
        """Return every client known, gone ones too."""
        return list(self._known)
