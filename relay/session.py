"""One client's side of the protocol: a frame in, commands out, no effects (pure). Bad input ends here (G6)."""

from dataclasses import dataclass, field
from enum import IntEnum

from boardlog import awareness
from boardlog.errors import InvalidUpdate
from boardlog.grant import Grant
from boardlog.links import Ranges
from boardlog.merge import parse_state_vector
from boardlog.update import examine
from boardlog.usual import Usual
from boardlog.wire import MalformedFrame
from relay.protocol import Awareness, Hello, QueryAwareness, SyncStep1, SyncStep2, Update, decode

UPDATE_BYTES_MAX = 8 * 1024 * 1024
"""One change. What a client kept back while offline comes as a SyncStep2 and may be as large as a board (L13)."""
VALIDATED_HERE_BYTES_MAX = 32 * 1024
"""A larger change is validated in another process (G7): so many bytes hold the event loop for 25 ms at most."""
AWARENESS_BYTES_MAX = 2 * 1024 * 1024
"""What awareness.UPDATE_BYTES_MAX can grow to in a client's own JSON, and more: 1e20 comes back as 21 digits."""


class CloseCode(IntEnum):
    """Why a socket is closed. 44xx is final for clients that know it (y-websocket 3.1); the others are retried."""

    GOING_AWAY = 1012
    """The node drains, or the connection is old: another node takes over."""
    TRY_AGAIN = 1013
    """Overload, or storage is away."""
    MALFORMED = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NO_SUCH_BOARD = 4404
    TOO_LARGE = 4413
    TOO_SLOW = 4508


@dataclass(frozen=True, slots=True)
class SendState:
    """Answer a SyncStep1: everything that a client with this state vector lacks."""

    state_vector: bytes


@dataclass(frozen=True, slots=True)
class Validate:
    """Have a large change validated elsewhere, then hand its ranges to `Session.validated`; read nothing meanwhile."""

    change: Update | SyncStep2


@dataclass(frozen=True, slots=True)
class Append:
    """Log a validated update."""

    update: bytes
    usual: Usual | None = field(default=None, compare=False)
    """What was read of it, if it is a usual one: it may be joined with others."""


@dataclass(frozen=True, slots=True)
class Refill:
    """Log what the client says that the log lacks, unless the log is known to have it (L12)."""

    update: bytes
    ranges: Ranges | None
    """None: too many to be compared."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Log nothing of a change in which nothing is new, but count it (L11)."""


@dataclass(frozen=True, slots=True)
class TellSaved:
    """From now on, tell the client what is saved (L11)."""


@dataclass(frozen=True, slots=True)
class Present:
    """Merge an awareness update, or end the connection if it is not one: mostly it repeats what the room has told.

    `introduces`: it is the client's first word, and where it tells of one client, that is itself.
    """

    update: bytes
    introduces: bool


@dataclass(frozen=True, slots=True)
class SendAwareness:
    """Answer with the states of everyone who is there."""


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection, saying why."""

    code: CloseCode
    reason: str


Command = SendState | Append | Refill | Drop | TellSaved | Present | SendAwareness | Close


class Session:
    """The state machine of one connection."""

    __slots__ = ("_may_introduce", "grant")

    def __init__(self, grant: Grant) -> None:
        """Serve a client with this grant."""
        self.grant = grant
        self._may_introduce = True
        """Clients speak of themselves as soon as the socket opens; later, what they say may repeat what they heard."""

    def receive(self, frame: bytes) -> Command | Validate | None:
        """Return what one frame asks for, or None if nothing. Never raises: bad input is a Close."""
        try:
            return self._handle(frame)
        except (MalformedFrame, InvalidUpdate) as error:
            return Close(CloseCode.MALFORMED, str(error))

    def _handle(self, frame: bytes) -> Command | Validate | None:
        match decode(frame):
            case Update() | SyncStep2() as change:  # first: nearly all that comes
                self._may_introduce = False
                return self._change(change)
            case SyncStep1(state_vector):
                parse_state_vector(state_vector)
                return SendState(state_vector)
            case Awareness(update):
                return self._awareness(update)
            case QueryAwareness():
                return SendAwareness()
            case Hello():
                return TellSaved()

    def validated(self, change: Update | SyncStep2, ranges: Ranges | None) -> Command:
        """Return what a change asks for that was found to be valid."""
        if isinstance(change, SyncStep2):
            return Refill(change.update, ranges)
        return Drop() if ranges is not None and ranges.is_empty else Append(change.update)

    def _change(self, change: Update | SyncStep2) -> Command | Validate:
        if not self.grant.can_append:
            if isinstance(change, SyncStep2):
                return Drop()  # stock clients answer whatever they are asked; a viewer was not asked (L13)
            return Close(CloseCode.FORBIDDEN, "This key may view the board, not change it.")
        if isinstance(change, Update) and len(change.update) > UPDATE_BYTES_MAX:
            return Close(CloseCode.TOO_LARGE, f"One change may have {UPDATE_BYTES_MAX} bytes.")
        if len(change.update) > VALIDATED_HERE_BYTES_MAX:
            return Validate(change)
        said = examine(change.update)
        if isinstance(said, Usual) and isinstance(change, Update) and not said.is_empty:
            return Append(change.update, said)
        return self.validated(change, said.ranges if isinstance(said, Usual) else said)

    def _awareness(self, update: bytes) -> Command | None:
        if len(update) > AWARENESS_BYTES_MAX:
            return Close(CloseCode.TOO_LARGE, f"One awareness update may have {AWARENESS_BYTES_MAX} bytes.")
        introduces, self._may_introduce = self._may_introduce, False
        return None if update == awareness.EMPTY else Present(update, introduces)
