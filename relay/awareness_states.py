"""Merged awareness: which clients are on a board and what they show, by client and clock (pure).

Presence is never logged. Every node holds all states of a board: those of its own members, which it answers for, and
those that other nodes told it of. Source: y-protocols awareness.js; a node knows more than a client, so it differs:

- A state is owned by the member that raised its clock last, or that introduced itself with it. Only its owner takes it
  away without raising the clock: stock clients repeat what they hear, and forget each other after 30 s. While a client
  moves, two nodes may own it; the one that still has it then has it raise its clock.
- A client that comes back with a clock at which it was declared gone would stay invisible to the others. It is shown
  its own absence, and answers, as every stock client does, with a higher clock at once.
"""

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from boardlog.awareness import GONE, State

CLIENTS_PER_BOARD_MAX = 5000
EXPIRY_SECONDS = 45.0
"""A remote state that is not renewed for this long is gone: its node died. Clients renew every 15 s."""


@dataclass(slots=True)
class _Known:
    clock: int
    json: bytes
    owner: object
    """The local member, or the name of the remote node, that answers for this client."""
    heard_at: float


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
            elif state.json == GONE:
                if state.clock < known.clock or known.json == GONE:
                    continue
                if known.owner == owner:
                    known.json, known.heard_at = GONE, now
                    changed.append(state.client)
                elif introduces:
                    disputed.append((known.owner, state))
            elif known.json == GONE:
                absences.append(State(state.client, known.clock, GONE))
            elif introduces and state.clock == known.clock and _may_take_over(owner, known.owner):
                known.owner, known.heard_at = owner, now
                changed.append(state.client)
        return Merged(changed, absences, disputed)

    def _accept(self, state: State, owner: object, now: float, known: _Known | None) -> bool:
        if known is None and (state.json == GONE or len(self._known) >= CLIENTS_PER_BOARD_MAX):
            return False
        self._known[state.client] = _Known(state.clock, state.json, owner, now)
        return True

    def leave(self, owner: object, now: float) -> list[int]:
        """Declare gone whatever `owner` answers for; return the clients."""
        gone = [client for client, known in self._known.items() if known.owner == owner and known.json != GONE]
        for client in gone:
            known = self._known[client]
            known.json, known.heard_at = GONE, now
        return gone

    def expire(self, local_owners: Container[object], now: float) -> list[int]:
        """Declare gone what no node renews, and forget who has been gone for as long; return the newly gone."""
        gone: list[int] = []
        for client, known in list(self._known.items()):
            if now - known.heard_at < EXPIRY_SECONDS or (known.json != GONE and known.owner in local_owners):
                continue
            if known.json == GONE:
                del self._known[client]
            else:
                known.json, known.heard_at = GONE, now
                gone.append(client)
        return gone

    def states(self, clients: Iterable[int]) -> list[State]:
        """Return the states of these clients, gone ones too."""
        return [State(c, known.clock, known.json) for c in clients if (known := self._known.get(c)) is not None]

    def present(self) -> list[State]:
        """Return the states of everyone who is there."""
        return [State(c, known.clock, known.json) for c, known in self._known.items() if known.json != GONE]

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
