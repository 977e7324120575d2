"""One board's live members on this node, its state and its place in the log.

All but `prepare` is synchronous: state changes without awaiting, the connections do the I/O. What is not in the log
reaches nobody (G1): a member's update goes to the appender, and comes back to all members through the tail.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import structlog

from boardlog.board_state import BoardState
from boardlog.entry import Entry
from boardlog.errors import BoardLogError, BoardNotFound
from boardlog.grant import Grant
from boardlog.ids import BoardId, Cursor
from boardlog.links import Ranges
from boardlog.log import Loaded
from boardlog.merge import EMPTY_UPDATE
from boardlog.remains import Remains
from boardlog.usual import Usual
from boardlog.wire import MalformedFrame
from relay import presence, protocol
from relay.presence import Presence
from relay.refill import Asking
from relay.session import (
    Append,
    Close,
    CloseCode,
    Command,
    Drop,
    Present,
    Refill,
    SendAwareness,
    SendState,
    TellSaved,
)

log = structlog.get_logger()

TAIL_UPDATES_MIN = 50
"""From so many updates after the base on, those who join share their frames."""

PAUSE_SECONDS_PER_MEMBER = 0.0002
"""After members were sent something the next waits so long for more: to write to one takes 13 us, nearly all of it the
system call, whatever is in it. So the fan-out of one board takes a fifteenth of its node's time..."""
PAUSE_SECONDS_MAX = 0.066
"""...until that is reached, at 330 members here: nobody waits for longer."""


class Member(Protocol):
    """A connection that has joined."""

    grant: Grant

    def send(self, frame: protocol.Frame) -> None:
        """Queue a frame; it is written at the end of this turn of the loop."""

    def write_through(self, frames: bytes) -> bool:
        """Write whole frames at once if nothing waits for this member; return whether that was so."""

    def append(self, update: bytes, usual: Usual | None = None) -> None:
        """Hand a validated update of this member to the log, with what was read of it if it is a usual one."""

    def drop(self) -> None:
        """Count a change of this member in which nothing is new: settled with what came before it (L11)."""

    def tell_saved(self) -> None:
        """Tell this member, from now on, how many of its changes are settled (L11)."""

    def unsaved(self) -> None:
        """Take back what this member was told: the log lost history. Nothing if it did not ask to be told."""

    def send_state(self, messages: Sequence[protocol.Frame]) -> None:
        """Queue a board's state, which may be larger than what may otherwise wait for a client."""

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the connection soon; nothing is sent to it after that."""


class Shell(presence.Shell, Protocol):
    """What a room needs of the world around it."""

    def append(self, update: bytes, source: Remains) -> None:
        """Hand a validated update of this node's own to the log."""

    def jitter(self, lowest: float, highest: float) -> float:
        """Return a random number between the two."""

    def call_soon(self, callback: Callable[[], None]) -> object:
        """Call back at the end of this turn of the loop."""

    async def difference(self, state: bytes, state_vector: bytes) -> bytes:
        """Do what `merge.difference` does, in nobody's way. Raises BoardLogError."""


class _Framed(NamedTuple):
    """The first updates after a state's base, as they are sent."""

    state: BoardState
    base: bytes
    updates: int
    frames: list[protocol.Frame]


class Room:
    """A board on this node. Also the reader (follow.Reader) of its log."""

    def __init__(self, board: BoardId, node: str, shell: Shell) -> None:
        """Make a room; it is ready when its log has been `loaded`."""
        self.board = board
        self.members: dict[Member, Callable[[bytes], bool]] = {}
        """With each its `write_through`: to look that up for every member would take longer than all the rest."""
        self.state: BoardState | None = None
        self.error: BoardLogError | None = None
        """Why the room cannot go on."""
        self.on_change: Callable[[], None] = lambda: None
        """Called after a load, a failure, and when the state has grown."""
        self.presence = Presence(node, self.members, shell)
        self._shell = shell
        self._fresh: list[bytes] = []
        """Updates that the log has brought: in the state, not yet with the members."""
        self._flush_at = float("-inf")
        self._remains = Remains(board, self._holds, shell.append, shell.call_later, shell.jitter)
        self._asking: Asking | None = None
        self._differing = asyncio.Lock()
        self._framed: _Framed | None = None
        self._lost_with: set[Member] = set()
        """Editors who were here when history was lost, and have not asked since to be told what is saved."""

    @property
    def holds_what_is_lost(self) -> bool:
        """Whether the log lacks something that this room had read before a loss, as far as is known (G4)."""
        return not self._remains.are_none

    # What members do

    def attach(self, member: Member) -> None:
        """Make a joiner a member: from this very moment it gets every entry, and its SyncStep1 the state (G2)."""
        state = self._ready_state()
        self.members[member] = member.write_through
        if member.grant.can_append:  # viewers are not asked (L13)
            member.send(protocol.sync_step_1(state.state_vector()))
        self.presence.joined(member)

    async def prepare(self, state_vector: bytes) -> None:
        """Have done elsewhere what answering this vector takes, where that is much (G7). Cancel-safe.

        Where it fails, or the state has changed by the time that it is asked for, it is done here.
        """
        state = self._ready_state()
        base = state.to_differ(state_vector)
        if base is None:
            return
        async with self._differing:  # those who come back at once mostly lack the same
            if state.to_differ(state_vector) is base:
                with suppress(BoardLogError):
                    state.differs(base, state_vector, await self._shell.difference(base, state_vector))

    def detach(self, member: Member) -> None:
        """Let a member go. Harmless if it has gone."""
        if self.members.pop(member, None) is not None:
            self.presence.left(member)
            self._lost_with.discard(member)
            if self._asking is not None:
                self._asking.left(member)

    def receive(self, member: Member, command: Command) -> None:
        """Carry out what a member's frame asks for."""
        match command:
            case SendState(state_vector):
                self._send_state(member, self._ready_state(), state_vector)
            case Append(update, usual):
                member.append(update, usual)
            case Refill(update, ranges):
                self._refill(member, update, covered=ranges is not None and self._ready_state().covers(ranges))
            case Drop():
                member.drop()
            case TellSaved():
                self._tell_saved(member)
            case Present(update, introduces):
                self._present(member, update, introduces=introduces)
            case SendAwareness():
                self.presence.tell_all(member)
            case Close(code, reason):
                member.close(code, reason)

    def logged(self, member: Member, cursor: Cursor) -> None:
        """Hear that an update of a member stands in the log at `cursor`."""
        if self._asking is not None:
            self._asking.logged(member, cursor)

    # What the log does (follow.Reader)

    def loaded(self, loaded: Loaded) -> None:
        """Take the state. Loaded anew, it reaches the members first, and they are asked for what it lacks (L5).

        What this room had and the log has lost goes back into the log, whoever is here to be asked (G4).
        """
        state = BoardState(loaded.snapshot.state, loaded.updates)
        earlier, self.state = self.state, state
        if earlier is not None:
            self.flush()  # what came before the loss comes before what is told of it
            log.warning("board_reloaded", board=self.board, members=len(self.members), cursor=str(loaded.cursor))
            self._remains.keep(earlier.lost_by(state))  # first: whatever else fails, nothing of it may be forgotten
            self._tell_of_loss(state.lacking_after(earlier))
        self.on_change()

    def _tell_of_loss(self, lacking: Sequence[bytes]) -> None:
        frames = [protocol.update(update) for update in lacking]
        editors = [member for member in self.members if member.grant.can_append]
        for editor in editors:
            editor.unsaved()  # before it is asked: only an answer given after this tells what is saved (L11)
        for member in self.members:
            member.send_state(frames)
        self._lost_with.update(editors)
        self._ask_for_the_rest(editors)

    def entries(self, entries: Sequence[Entry]) -> None:
        """Deliver entries to every member, the author included."""
        state = self._ready_state()
        updates = [update for entry in entries for update in entry.updates]
        state.add(updates)
        if updates:  # an anchor has none, and nothing must count as something sent (L16)
            is_due = bool(self._fresh)
            self._fresh += updates
            if not is_due:
                self._flush_in_time()
        if self._asking is not None and entries:  # none, where all were unreadable
            self._asking.delivered([entry.cursor for entry in entries])
        if state.is_long:
            self.on_change()

    def _flush_in_time(self) -> None:
        """Flush at the end of this turn of the loop, or when the pause after the last time is over."""
        wait = self._flush_at - self._shell.now()
        if wait > 0:
            self._shell.call_later(wait, self.flush)
        else:
            self._shell.call_soon(self.flush)

    def flush(self) -> None:
        """Send every member what the log has brought: one piece, made once, one write each."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            self._flush_at = self._shell.now() + min(PAUSE_SECONDS_MAX, len(self.members) * PAUSE_SECONDS_PER_MEMBER)
        for piece in protocol.joined([protocol.update(update) for update in fresh]):
            if isinstance(piece, protocol.Shared):
                for member in self.members:
                    member.send(piece)
                continue
            for member, write_through in self.members.items():
                if not write_through(piece):
                    member.send(piece)

    def failed(self, error: BoardLogError) -> None:
        """Close the room: its board is gone or cannot be read."""
        log.warning("board_failed", board=self.board, reason=str(error))
        self.error = error
        self.flush()
        code, reason = close_for(error)
        for member in list(self.members):
            member.close(code, reason)
        self.on_change()

    def close(self) -> None:
        """Stop all timers; what the log has lost and only this room holds is appended at once (G4)."""
        self._remains.close()
        self.presence.close()
        if self._asking is not None:
            self._asking.stop()
            self._asking = None

    def _holds(self, update: bytes, ranges: Ranges) -> bool:
        return self._ready_state().holds(update, ranges)

    def _ready_state(self) -> BoardState:
        if self.state is None:
            raise RuntimeError("a room was used before its log was loaded")
        return self.state

    def _present(self, member: Member, update: bytes, *, introduces: bool) -> None:
        try:
            self.presence.takes(member, update, introduces=introduces)
        except MalformedFrame as error:
            member.close(CloseCode.MALFORMED, str(error))

    def _send_state(self, member: Member, state: BoardState, state_vector: bytes) -> None:
        # The SyncStep2 comes last: a client calls itself synced when it has it.
        updates = state.lacking_of_base(state_vector)
        if len(state.updates) > TAIL_UPDATES_MIN:
            tail = [*self._tail_of(state), protocol.sync_step_2(EMPTY_UPDATE)]
        else:
            *updates, last = [*updates, *state.updates]
            tail = [protocol.sync_step_2(last)]
        member.send_state([*map(protocol.update, updates), *tail])

    def _tail_of(self, state: BoardState) -> list[protocol.Frame]:
        """Return the frames of what came after the base: framed once, and shared by all who join meanwhile."""
        base, updates = state.parts()
        framed = self._framed
        # A state that was loaded anew may have the very same base, and other updates.
        if framed is None or framed.state is not state or framed.base is not base:
            framed = _Framed(state, base, 0, [])
        new = updates[framed.updates :]
        frames = [*framed.frames, *protocol.joined(map(protocol.update, new))]
        self._framed = _Framed(state, base, len(updates), frames)
        return frames

    def _refill(self, member: Member, update: bytes, *, covered: bool) -> None:
        """Log what a client's SyncStep2 brings. It is never empty once anything was deleted: drop echoes (L12)."""
        if covered:
            member.drop()
        else:
            member.append(update)
        if self._asking is not None:
            self._asking.answered(member, brings_news=not covered)

    def _tell_saved(self, member: Member) -> None:
        """Begin to tell what is saved. Who asks for it only after a loss is told of that too, and asked again."""
        member.tell_saved()
        if member in self._lost_with:
            self._lost_with.discard(member)
            member.unsaved()
            self._ask(member)

    def _ask_for_the_rest(self, editors: Sequence[Member]) -> None:
        """After a loss: ask one editor for what the log lacks, log it, and only then ask the others (L5)."""
        if self._asking is not None:
            self._asking.stop()
        self._asking = Asking(editors, self._ask, self._shell.call_later)

    def _ask(self, member: Member) -> None:
        member.send(protocol.sync_step_1(self._ready_state().state_vector()))


def close_for(error: BoardLogError) -> tuple[CloseCode, str]:
    """Return how a connection ends that met this error."""
    if isinstance(error, BoardNotFound):
        return CloseCode.NO_SUCH_BOARD, str(error)
    return CloseCode.TRY_AGAIN, "The board's storage is not available just now: try again."
