"""One board's presence on this node: its members' states out to the other nodes, everyone's states to its members.

Never logged. One channel a board; a member gets at most one frame a tick, with whatever changed since the last.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from boardlog.awareness import EMPTY, State, decode, encode, encode_all
from boardlog.presence_channel import Kind, pack, unpack
from boardlog.wire import MalformedFrame
from relay import protocol
from relay.awareness_states import AwarenessStates

log = structlog.get_logger()

TICK_SECONDS = 0.05
EXPIRY_CHECK_SECONDS = 15.0


class Audience(Protocol):
    """A member of the room, as far as presence is concerned."""

    def send(self, frame: bytes) -> None:
        """Queue a frame."""


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

    def now(self) -> float:
        """Return seconds on a steady clock."""


class Presence:
    """Merged states of one board, and what is still to be told of them. Also the listener of the board's channel."""

    def __init__(self, node: str, members: Mapping[Any, Any], shell: Shell) -> None:
        """Serve `members`, a live view of the room's. `node` is this process' own: names may be shared."""
        self._node = node
        self._members = members
        self._shell = shell
        self._states = AwarenessStates()
        self._changed: dict[int, None] = {}
        self._to_publish: dict[int, None] = {}
        self._told_at = float("-inf")
        self._tick: Timer | None = None
        self._expiry: Timer = shell.call_later(EXPIRY_CHECK_SECONDS, self._expire)

    def close(self) -> None:
        """Stop all timers."""
        self._expiry.cancel()
        if self._tick is not None:
            self._tick.cancel()

    def joined(self, member: Audience) -> None:
        """Show a new member who is there."""
        self.tell_all(member, even_nobody=False)

    def tell_all(self, member: Audience, *, even_nobody: bool = True) -> None:
        """Answer a member's query."""
        present = self._states.present()
        if present or even_nobody:
            member.send(_frames(present) or _NOBODY)

    def said(self, member: Audience, states: list[State], *, introduces: bool) -> None:
        """Take what a member says. It hears its own words too, so a lone client does not think its server dead (L16).

        What changes nothing gets no answer: every stock client repeats every state that it hears.
        """
        merged = self._states.merge(states, member, self._shell.now(), introduces=introduces)
        self._note(merged.changed, publish=True)
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
                self._heard(node, decode(body))
        except MalformedFrame as error:
            log.warning("presence_unreadable", reason=str(error))

    def _heard(self, node: str, states: list[State]) -> None:
        # A node speaks only of clients that it answers for, so whatever it says introduces them.
        merged = self._states.merge(states, node, self._shell.now(), introduces=True)
        self._note(merged.changed, publish=False)
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
        self._to_publish.update(dict.fromkeys(self._states.clients()))
        self._tick_soon()

    def _note(self, clients: list[int], *, publish: bool) -> None:
        """Remember what to tell, and when: at once, or at the end of the tick that runs."""
        if not clients:
            return
        self._changed.update(dict.fromkeys(clients))
        if publish:
            self._to_publish.update(dict.fromkeys(clients))
        self._tick_soon()

    def _tick_soon(self) -> None:
        if self._tick is None:
            wait = self._told_at + TICK_SECONDS - self._shell.now()
            self._tick = self._shell.call_later(max(0.0, wait), self._tell)

    def _tell(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._told_at = self._shell.now()
        changed, self._changed = self._changed, {}
        to_publish, self._to_publish = self._to_publish, {}
        owned = self._states.owned_by(to_publish, lambda owner: not isinstance(owner, str))
        for update in encode_all(owned):
            self._shell.publish(pack(self._node, Kind.STATES, update))
        frames = _frames(self._states.states(changed)) if self._members else b""
        if frames:
            for member in self._members:
                member.send(frames)

    def _expire(self) -> None:
        self._expiry = self._shell.call_later(EXPIRY_CHECK_SECONDS, self._expire)
        self._note(self._states.expire(self._members, self._shell.now()), publish=False)


_NOBODY = protocol.awareness(EMPTY)


def _frames(states: list[State]) -> bytes:
    return b"".join(protocol.awareness(update) for update in encode_all(states))
