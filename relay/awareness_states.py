"""Merged awareness: which clients are on a board and what they show, by client and clock (pure).

Presence is never logged. Every node holds all states of a board: those of its own members, which it answers for, and
those that other nodes told it of. Source: y-protocols awareness.js; a node knows more than a client, so it differs:

- A state is owned by the member that raised its clock last, or that introduced itself with it. Only its owner takes it
  away without raising the clock: stock clients repeat what they hear, and forget each other after 30 s. While a client
  moves, two nodes may own it; the one that still has it then has it raise its clock.
- A member speaks for the clients that it has claimed, and merely repeats all others. It claims whom nobody knows, who
  is gone, and whom it introduces itself as, for a page that comes back is heard of while its old socket still looks
  alive. So whoever answered until then is shown its own absence: a dead socket stays silent; a living client answers
  at once with a higher clock, and the claim against it is void (G6). A node's word is taken: it holds its members to
  the same.
- Clocks go on at a bounded rate, so that nobody is driven to where they end.
- A client that comes back with a clock at which it was declared gone would stay invisible to the others. It is shown
  its own absence, and answers, as every stock client does, with a higher clock at once.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from boardlog.awareness import CLOCK_MAX, GONE, State

CLIENTS_PER_BOARD_MAX = 5000
CLIENTS_PER_MEMBER_MAX = 16
"""What one socket may speak for; further ones are not taken. A page is one client, and may tell of its sibling tabs."""
EXPIRY_SECONDS = 45.0
"""A remote state that is not renewed for this long is gone: its node died. Clients renew every 15 s."""
FIRST_CLOCK_MAX = CLOCK_MAX // 2
"""With how high a clock a member may bring a client that nobody knows: 124 days of a hundred changes a second."""
CLOCK_JUMP_MAX = 10_000
CLOCKS_PER_SECOND_MAX = 1000
"""A client's clock may be ahead of its first one by the jump and by this much a second, or else goes up by one."""
DISPUTE_SECONDS = 10.0
"""So long a living client may take to answer when another claims to be it."""


class _Claim(NamedTuple):
    """A member's right to speak for a client."""

    against: object
    """Who answered for the client when it was claimed, None if nobody did."""
    at: float


@dataclass(slots=True)
class _Known:
    clock: int
    json: bytes
    owner: object
    """The local member, or the name of the remote node, that answers for this client."""
    heard_at: float
    first_clock: int
    first_at: float
    claims: dict[object, _Claim] = field(default_factory=dict)
    """The members that may speak for it."""
    is_doubted: bool = False
    """Whether its owner is asked to raise the clock, for somebody takes it for gone."""

    def clock_max(self, now: float) -> int:
        """Return how far a member may raise the clock."""
        allowed = self.first_clock + CLOCK_JUMP_MAX + int(CLOCKS_PER_SECOND_MAX * (now - self.first_at))
        return max(allowed, self.clock + 1)


def _is_node(owner: object) -> bool:
    return isinstance(owner, str)


def _may_take_over(owner: object, known: object) -> bool:
    """Not a node from a member of ours: what two nodes say of a client may cross on its way, and none would own it."""
    return owner != known and (_is_node(known) or not _is_node(owner))


class Merged(NamedTuple):
    """What a merge changed."""

    changed: list[int]
    """Clients whose state everyone should hear of."""
    absences: list[State]
    """To show to the sender alone: it was declared gone at this clock, and has to raise it."""
    disputed: list[tuple[Any, State]]
    """To show to who answered alone: its client is declared gone at its very clock, or somebody claims to be it."""
    renewed: list[int]
    """Clients that only raised their clock, to say that they are still there: everyone should hear of it some time."""


class AwarenessStates:
    """All states of one board on one node."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._known: dict[int, _Known] = {}
        self._claimed: dict[object, list[int]] = {}
        """The clients that each member has claimed."""

    def __len__(self) -> int:
        """Return how many clients are known, gone ones too."""
        return len(self._known)

    def merge(self, states: Iterable[State], owner: object, now: float, *, introduces: bool = False) -> Merged:
        """Take in states that `owner` sent at `now` (seconds). `introduces`: it speaks of its own clients.

        A name is a node; any other owner is a member.
        """
        merged = Merged([], [], [], [])
        for state in states:
            known = self._known.get(state.client)
            if known is not None and self._goes_on(known, state, owner, now):
                is_renewal = state.json == known.json and not known.is_doubted
                (merged.renewed if is_renewal else merged.changed).append(state.client)
                known.clock, known.json, known.heard_at, known.is_doubted = state.clock, state.json, now, False
                continue
            is_own = introduces and (_is_node(owner) or state.json != GONE)
            if not _is_node(owner) and not self._may_say(owner, state, now, introduces=is_own):
                continue
            if known is None:
                self._add(merged, state, owner, now)
            elif state.clock > known.clock:
                self._take(merged, known, state, owner, now)
            else:
                self._compare(merged, known, state, owner, now, introduces=is_own)
        return merged

    def _goes_on(self, known: _Known, state: State, owner: object, now: float) -> bool:
        """Whether who answers for a client says the next of it: nearly always, so that nothing else need be asked."""
        if known.owner != owner or state.clock <= known.clock or known.json == GONE:
            return False
        return _is_node(owner) or (owner in known.claims and state.clock <= known.clock_max(now))

    def _compare(
        self, merged: Merged, known: _Known, state: State, owner: object, now: float, *, introduces: bool
    ) -> None:
        """Take in a state whose clock is not above what is known: mostly it repeats that."""
        if state.json == GONE:
            if state.clock < known.clock or known.json == GONE:
                return
            if known.owner == owner:
                known.json, known.heard_at = GONE, now
                merged.changed.append(state.client)
            elif introduces:
                known.is_doubted = True
                merged.disputed.append((known.owner, state))
        elif known.json == GONE:
            merged.absences.append(State(state.client, known.clock, GONE))
        elif introduces and state.clock == known.clock and _may_take_over(owner, known.owner):
            self._take(merged, known, state._replace(json=known.json), owner, now)

    def _may_say(self, member: object, state: State, now: float, *, introduces: bool) -> bool:
        """Whether a member may say this, claiming the client if it can; to repeat what was heard is always allowed."""
        known = self._known.get(state.client)
        if known is None:
            return state.clock <= FIRST_CLOCK_MAX and len(self.claimed(member)) < CLIENTS_PER_MEMBER_MAX
        if member not in known.claims and (introduces or (known.json == GONE and state.clock > known.clock)):
            self._claim(member, state.client, known, now)
        return state.clock <= (known.clock_max(now) if member in known.claims else known.clock)

    def _claim(self, member: object, client: int, known: _Known, now: float) -> None:
        claimed = self._claimed.setdefault(member, [])
        if len(claimed) < CLIENTS_PER_MEMBER_MAX:
            claimed.append(client)
            known.claims[member] = _Claim(None if known.json == GONE or known.owner is member else known.owner, now)

    def _unclaim(self, member: object, client: int, known: _Known) -> None:
        if known.claims.pop(member, None) is not None:
            claimed = self._claimed[member]
            claimed.remove(client)
            if not claimed:
                del self._claimed[member]

    def _add(self, merged: Merged, state: State, owner: object, now: float) -> None:
        if state.json == GONE or len(self._known) >= CLIENTS_PER_BOARD_MAX:
            return
        known = self._known[state.client] = _Known(state.clock, state.json, owner, now, state.clock, now)
        if not _is_node(owner):
            self._claim(owner, state.client, known, now)
        merged.changed.append(state.client)

    def _take(self, merged: Merged, known: _Known, state: State, owner: object, now: float) -> None:
        """Let `owner` answer for a client from now on, and whoever did until now show that it lives."""
        before = known.owner
        if before != owner and known.json != GONE and not _is_node(before):
            claim = known.claims.get(before)
            if claim is not None and claim.against == owner and now - claim.at < DISPUTE_SECONDS:
                self._unclaim(before, state.client, known)  # it claimed to be this client, which lives
            else:
                merged.disputed.append((before, State(state.client, state.clock, GONE)))
        known.clock, known.json, known.owner, known.heard_at = state.clock, state.json, owner, now
        known.is_doubted = False
        merged.changed.append(state.client)

    def leave(self, owner: object, now: float) -> list[int]:
        """Declare gone whatever `owner` answers for; return the clients."""
        for client, known in self._known.items():
            self._unclaim(owner, client, known)
            for member, claim in known.claims.items():
                if claim.against == owner:
                    known.claims[member] = _Claim(None, claim.at)
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
                for member in list(known.claims):
                    self._unclaim(member, client, known)
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

    def ours(self, clients: Iterable[int]) -> list[int]:
        """Return those clients for which a member answers, and no other node."""
        return [c for c in clients if (known := self._known.get(c)) is not None and not _is_node(known.owner)]

    def sole_owner(self, clients: Sequence[int]) -> object | None:
        """Return who answers for all of these clients, at least one, each as it last said; None if nobody does."""
        owner, *others = {known.owner if (known := self._known.get(c)) is not None else None for c in clients}
        return None if others else owner

    def claimed(self, member: object) -> Sequence[int]:
        """Return the clients for which a member may speak."""
        return self._claimed.get(member, ())

    def shown(self, client: int) -> bytes | None:
        """Return a client's state, None if it is not known."""
        known = self._known.get(client)
        return None if known is None else known.json

    def clients(self) -> list[int]:
        """Return every client known, gone ones too."""
        return list(self._known)
