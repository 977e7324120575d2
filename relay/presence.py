"""One board's presence on this node: its members' states out to the other nodes, everyone's states to its members.

Never logged. One channel a board; a member gets at most one frame a tick, with what changed since the last. The more
bytes a tick takes the later comes the next; and where all only say that they are still there, it waits for seconds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from boardlog.awareness import EMPTY, State, decode, encode, encode_all, encode_one, updates_of
from boardlog.presence_channel import Kind, pack, unpack
from boardlog.wire import MalformedFrame, write_varuint
from relay import protocol
from relay.awareness_states import AwarenessStates

log = structlog.get_logger()

TICK_SECONDS = 0.05
"""Ticks of all boards come at the same moments, multiples of this: the first change after a pause waits that long."""
TICK_SECONDS_MAX = 0.5
"""So often everyone is told at least, whatever it takes."""
BYTES_PER_SECOND_MAX = 32 * 1024 * 1024
"""What one board's presence may send to its members: the next tick waits until the last one's bytes are within this."""
RENEWAL_SECONDS = 4.0
"""A state that changed nothing but its clock waits so long for others. Clients renew every 15 to 18 s, are forgotten by
stock ones after 30 s, and go through two nodes at most: 18 + 2 * 4."""
RENEWAL_STEP_SECONDS = 0.25
"""Boards whose renewals are due within the same step tell them in one turn of the loop."""
EXPIRY_CHECK_SECONDS = 15.0
ECHOES = 4
"""How many updates that were told are remembered: every stock client repeats them."""
ECHO_STATES_MIN = 8
"""Smaller ones are read when they come back: that costs less than to keep them."""


class Audience(Protocol):
    """A member of the room, as far as presence is concerned."""

    def send(self, frame: bytes) -> None:
        """Queue a frame."""

    def write_through(self, frames: bytes) -> bool:
        """Write whole frames at once if nothing waits for this member; return whether that was so."""


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None:
        """Do not call."""


class Shell(Protocol):
    """What presence needs of the world around it."""

    def publish(self, message: bytes) -> None:
        """Send a message to all nodes that serve this board, this one included; it may be lost."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back once."""

    def call_at(self, moment: float, callback: Callable[[], None]) -> Timer:
        """Call back once, at one of the moments that all boards share."""

    def now(self) -> float:
        """Return seconds on a steady clock."""


class Presence:
    """Merged states of one board, and what is still to be told of them. Also the listener of the board's channel."""

    def __init__(self, node: str, members: Mapping[Any, Callable[[bytes], bool]], shell: Shell) -> None:
        """Serve `members`, a live view of the room's, each with its `write_through`.

        `node` is this process' own name: settings may give several the same.
        """
        self._node = node
        self._members = members
        self._shell = shell
        self._states = AwarenessStates()
        self._changed: dict[int, None] = {}
        self._to_publish: dict[int, None] = {}
        self._told: tuple[_Told, ...] = ()
        self._present: bytes | None = None
        """The frames that show who is there, until anything changes."""
        self._next_tick_at = float("-inf")
        self._tick: Timer | None = None
        self._tick_at = 0.0
        self._expiry: Timer | None = None

    def close(self) -> None:
        """Stop all timers."""
        for timer in (self._expiry, self._tick):
            if timer is not None:
                timer.cancel()

    def joined(self, member: Audience) -> None:
        """Show a new member who is there."""
        self.tell_all(member, even_nobody=False)

    def tell_all(self, member: Audience, *, even_nobody: bool = True) -> None:
        """Answer a member's query."""
        if self._present is None:
            self._present = _frames(encode_all(self._states.present()))
        if self._present or even_nobody:
            member.send(self._present or _NOBODY)

    def takes(self, member: Audience, update: bytes, *, introduces: bool) -> None:
        """Take an awareness update of a member. Raises MalformedFrame if it is not one.

        `introduces`: it is the first one, in which a client that tells of one alone tells of itself.
        """
        if not introduces and self._is_echo(member, update):
            return
        states = decode(update, self._states.shown)
        self.said(member, states, introduces=introduces and len(states) == 1)

    def _is_echo(self, member: Audience, update: bytes) -> bool:
        """Whether an update says what the members were just told, but for what the member says of itself."""
        own = self._states.claimed(member)
        return any(told.is_repeated_by(update, own) for told in self._told)

    def said(self, member: Audience, states: list[State], *, introduces: bool) -> None:
        """Take what a member says. What changes nothing gets no answer: every stock client repeats all it hears."""
        merged = self._states.merge(states, member, self._shell.now(), introduces=introduces)
        self._note(merged.changed, publish=True)
        self._note(merged.renewed, publish=True, within_seconds=RENEWAL_SECONDS)
        self._challenge(merged.disputed)
        if merged.absences:
            member.send(protocol.awareness(encode(merged.absences)))

    def left(self, member: Audience) -> None:
        """Tell everyone that a member's clients are gone."""
        self._note(self._states.leave(member, self._shell.now()), publish=True)
        if not self._members:
            self._tell()  # the room may close before the next tick

    def subscribed(self) -> None:
        """See tail.Listener: ask the other nodes for theirs, and tell ours, which they may have missed."""
        self._shell.publish(pack(self._node, Kind.QUERY))
        self._publish_all()

    def received(self, message: bytes) -> None:
        """See tail.Listener: merge what another node says of its members, or answer its question."""
        try:
            node, kind, body = unpack(message)
            if node == self._node:
                return
            if kind is Kind.QUERY:
                self._publish_all()
            else:
                self._heard(node, decode(body, self._states.shown))
        except MalformedFrame as error:
            log.warning("presence_unreadable", reason=str(error))

    def _heard(self, node: str, states: list[State]) -> None:
        # A node speaks only of clients that it answers for, so whatever it says introduces them.
        merged = self._states.merge(states, node, self._shell.now(), introduces=True)
        self._note(merged.changed, publish=False, is_at_a_moment=True)
        self._note(merged.renewed, publish=False, within_seconds=RENEWAL_SECONDS)
        # A client that came back elsewhere with the clock at which it went has to raise it, or nobody sees it: the node
        # that has it may not know, having opened the room since.
        for update in encode_all(merged.absences):
            self._shell.publish(pack(self._node, Kind.STATES, update))
        self._challenge(merged.disputed)

    def _challenge(self, disputed: list[tuple[Any, State]]) -> None:
        """Show members their own absence, at once: before they hear of a state of theirs that they never said (G6)."""
        for owner, absence in disputed:
            if owner in self._members:
                owner.send(protocol.awareness(encode([absence])))

    def _publish_all(self) -> None:
        if self._states:
            self._to_publish.update(dict.fromkeys(self._states.clients()))
            self._tick_soon()

    def _note(
        self, clients: list[int], *, publish: bool, within_seconds: float = 0.0, is_at_a_moment: bool = False
    ) -> None:
        """Remember what to tell, and when: within some time, but not before the tick that runs has ended.

        `is_at_a_moment`: it was told at one, by a node whose boards told theirs with it: no need to wait for the next.
        """
        if not clients:
            return
        self._present = None
        self._changed.update(dict.fromkeys(clients))
        if publish:
            self._to_publish.update(dict.fromkeys(clients))
        if self._expiry is None:
            self._expiry = self._shell.call_later(EXPIRY_CHECK_SECONDS, self._expire)
        self._tick_soon(within_seconds, is_at_a_moment=is_at_a_moment)

    def _tick_soon(self, within_seconds: float = 0.0, *, is_at_a_moment: bool = False) -> None:
        now = self._shell.now()
        if is_at_a_moment and now >= self._next_tick_at:
            at = moment(now, TICK_SECONDS) - TICK_SECONDS
        elif within_seconds:
            at = moment(now + within_seconds, RENEWAL_STEP_SECONDS)
        else:
            at = moment(max(now, self._next_tick_at), TICK_SECONDS)
        if self._tick is not None:
            if self._tick_at <= at:
                return
            self._tick.cancel()
        self._tick_at = at
        self._tick = self._shell.call_at(at, self._tell)

    def _tell(self) -> None:
        told_at = self._shell.now()
        if self._tick is not None:
            self._tick.cancel()
            self._tick, told_at = None, min(told_at, self._tick_at)
        changed, self._changed = self._changed, {}
        to_publish, self._to_publish = self._to_publish, {}
        encoded = {state.client: encode_one(state) for state in self._states.states(changed | to_publish)}
        for update in updates_of(encoded[client] for client in self._states.ours(to_publish)):
            self._shell.publish(pack(self._node, Kind.STATES, update))
        sent_bytes = self._tell_members([client for client in changed if client in encoded], encoded)
        wait = min(TICK_SECONDS_MAX, max(TICK_SECONDS, sent_bytes / BYTES_PER_SECOND_MAX))
        self._next_tick_at = told_at + wait

    def _tell_members(self, clients: Sequence[int], encoded: dict[int, bytes]) -> int:
        """Send every member the same frames, but for who alone has said all of it; return how many bytes that takes.

        Who hears nothing of its own words is told by the connection, now and then, that its server is alive (L16).
        """
        if not self._members or not clients:
            return 0
        updates = list(updates_of(encoded[client] for client in clients))
        if len(clients) >= ECHO_STATES_MIN and len(updates) == 1:
            told = _Told({client: encoded[client] for client in clients})
            self._told = (*self._told, told)[-ECHOES:]
        frames = _frames(updates)
        author = self._states.sole_owner(clients)
        for member, write_through in self._members.items():
            if member is not author and not write_through(frames):
                member.send(frames)
        return len(frames) * len(self._members)

    def _expire(self) -> None:
        self._expiry = None
        self._note(self._states.expire(self._members, self._shell.now()), publish=False)
        if self._expiry is None and self._states:
            self._expiry = self._shell.call_later(EXPIRY_CHECK_SECONDS, self._expire)


class _Told:
    """An update that all members were sent, as each of them will repeat it: without what it knows better itself."""

    def __init__(self, encoded: dict[int, bytes]) -> None:
        self._states = b"".join(encoded.values())
        self._count = len(encoded)
        self._places: dict[int, tuple[int, int]] = {}
        end = 0
        for client, state in encoded.items():
            begin, end = end, end + len(state)
            self._places[client] = begin, end

    def is_repeated_by(self, update: bytes, own: Sequence[int]) -> bool:
        """Whether an update says just this, but for at most one client that the sender speaks for."""
        places = [self._places[client] for client in own if client in self._places]
        begin, end = places[0] if places else (0, 0)
        head = write_varuint(self._count - len(places))
        if len(places) > 1 or len(update) != len(head) + len(self._states) - (end - begin):
            return False
        return update == b"".join((head, self._states[:begin], self._states[end:]))


def moment(at: float, step_seconds: float) -> float:
    """Return the first moment that is not before a time: moments are the multiples of `step_seconds`."""
    return math.ceil(at / step_seconds - _EARLY) * step_seconds


_EARLY = 0.01
"""A time that lies this share of a step behind a moment still belongs to it: clocks and timers are not exact."""
_NOBODY = protocol.awareness(EMPTY)


def _frames(updates: Iterable[bytes]) -> bytes:
    return b"".join(map(protocol.awareness, updates))
