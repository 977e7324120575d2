"""One client's life: carries out what its inbox gives on as it arrives, writes its outbox once a turn, looks after it.

Nothing stands between the transport and the session, and between the room and the transport: no queue, no task, no
timer a connection, for at a few messages a second each of them costs more than what the relay does with a message.
Frames are built once for all members and written straight to the transport, joined: a write costs a system call, the
bytes in it next to nothing.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from boardlog.appender import Appender
from boardlog.awareness import EMPTY
from boardlog.errors import BoardLogError, InvalidUpdate, StorageUnavailable
from boardlog.grant import Grant
from boardlog.stream import Appended
from boardlog.usual import Usual
from boardlog.validating import NotValidated, Validator
from relay import protocol
from relay.frames import BadFrame, Opcode, TooLarge
from relay.inbox import Inbox
from relay.outbox import Outbox, Outboxes
from relay.room import Room, close_for
from relay.session import Append, Close, CloseCode, Command, Refill, SendState, Session, Validate
from relay.socket import Stream
from relay.unlogged import Unlogged

log = structlog.get_logger()

UNLOGGED_BYTES_MAX = 4 * 1024 * 1024
"""A client whose updates of this size wait for the log is not read until they are in it."""
CLOSE_SECONDS_MAX = 5.0
"""A client that does not take its close frame in this time is cut off."""
HELD_POLL_SECONDS = 1.0
"""How often a client that is held back is looked after: it may have gone."""
QUIET_SECONDS_MAX = 20.0
"""A client that was sent nothing for this long gets a frame: stock ones drop a silent socket at 30 s (L16)."""

NORMAL_CLOSURE = 1000

_ALIVE = protocol.awareness(EMPTY)

AGE_SPREAD = 0.1


def age_limit_seconds(about_seconds: float, uniform: Callable[[float, float], float]) -> float:
    """Draw how old a connection may become: AGE_SPREAD more or less, so that who came at once does not go at once."""
    return about_seconds * uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)


class Limits(NamedTuple):
    """What one connection may take."""

    message_bytes_max: int
    heartbeat_seconds: float
    """A client that has sent nothing for this long is pinged, and cut if half of it later it has not answered."""
    age_seconds: float
    """It is closed with 1012 when it is older."""


class Connection:
    """A client that has joined a room: its member, and the source of its updates."""

    __slots__ = (
        "_appender", "_closing", "_ended", "_flush_is_due", "_heard_at", "_heartbeat_seconds", "_inbox", "_is_pinged",
        "_looked_at", "_loop", "_may_read", "_old_at", "_outbox", "_outboxes", "_sent_at", "_session", "_socket",
        "_told_saved", "_transport", "_unlogged", "_validator", "_waiting", "grant", "room", "write_through",
    )  # fmt: skip

    def __init__(
        self,
        socket: Stream,
        session: Session,
        appender: Appender,
        validator: Validator,
        outboxes: Outboxes,
        limits: Limits,
    ) -> None:
        """Serve what comes through `socket`, which has been opened."""
        self.grant: Grant = session.grant
        self.room: Room | None = None
        self._socket = socket
        self._transport = socket.transport
        self._inbox = Inbox(socket.transport, limits.message_bytes_max, self)
        self._session = session
        self._appender = appender
        self._validator = validator
        self._outboxes = outboxes
        self._outbox = Outbox(socket, outboxes, self._too_slow, self.flush)
        self.write_through = self._outbox.write_through
        self._flush_is_due = False
        self._unlogged = Unlogged()
        self._told_saved: int | None = None  # it did not ask
        self._may_read: asyncio.Event | None = None
        """Set when this client may be read again; None while nothing is against it."""
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._heard_at = self._looked_at = self._loop.time()
        self._old_at = self._sent_at + limits.age_seconds
        self._heartbeat_seconds = limits.heartbeat_seconds
        self._is_pinged = False
        self._waiting: asyncio.Task[None] | None = None
        """Carries out what could not be at once; the inbox is held meanwhile."""
        self._closing: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()

    # What the room does (room.Member)

    def send(self, frame: protocol.Frame) -> None:
        """Queue a frame; whatever this turn of the loop brings is written at once, at its end."""
        if self._closing is None:
            self._outbox.add(frame)
            self._flush_soon()

    def send_state(self, messages: Sequence[protocol.Frame]) -> None:
        """Queue a board's state. What waits may exceed the outbox's bound by its size, until it has been taken."""
        if self._closing is None:
            self._outbox.add_state(messages)
            self._flush_soon()

    def close(self, code: int, reason: str) -> None:
        """Close soon; nothing that comes after it is taken. Synchronous; the first call counts.

        What the socket takes at once is written before it, what would have to wait is dropped: a client that is behind
        must not wait for its close, and gets what it lacks where it reconnects.

        `serve` reads on until the client has answered: to hang up on data that nobody has read would reset the
        connection, and the code would be lost on its way (aiohttp's own close does, from beside a reader).
        """
        self.flush()  # by which it may be closed already, as too slow
        if self._closing is None:
            self._outbox.close()
            self._closing = self._loop.call_later(CLOSE_SECONDS_MAX, self.cut)
            if not self._transport.is_closing():
                self._transport.write(protocol.close(code, reason))

    async def closed(self) -> None:
        """Return when this connection has ended. Cancel-safe."""
        while not self._ended.done():
            await asyncio.wait([self._ended])  # not awaited itself: who is cancelled must not end it

    def cut(self) -> None:
        """End at once, without a word. Harmless if it has ended."""
        self._outbox.close()
        if not self._inbox.is_lost and (self._transport.get_write_buffer_size() or not self._transport.is_closing()):
            # A reset: else the kernel would keep what the client does not take, for minutes.
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def look_after(self, now: float) -> None:
        """Close what has become too old (G10).

        Else send a quiet client an empty awareness frame, so that it does not take its server for dead (L16).
        """
        if now > self._old_at:
            self.close(CloseCode.GOING_AWAY, "This connection is too old: another node takes over.")
            return
        self._hear_its_heart(now)
        if self._outbox.has_written:
            # When, nobody noted, for each frame would have to read the clock: just after the last look at the earliest.
            self._sent_at, self._outbox.has_written = self._looked_at, False
        self._looked_at = now
        if now - self._sent_at > QUIET_SECONDS_MAX and not self._outbox.is_behind:
            self.send(_ALIVE)

    def _hear_its_heart(self, now: float) -> None:
        """Ping a client that has sent nothing for long, and cut it if it does not answer (G7).

        Not while nothing is read of it, as when the log is full (G5): its answer is among what has not been read, and
        to cut would send it away, to come back at once with all that it has.
        """
        if self._inbox.has_spoken or self._inbox.is_held:
            self._heard_at, self._inbox.has_spoken, self._is_pinged = now, False, False
        elif now - self._heard_at > self._heartbeat_seconds * 1.5 and self._is_pinged:
            self.cut()
        elif (
            now - self._heard_at > self._heartbeat_seconds and not self._is_pinged and not self._transport.is_closing()
        ):
            self._is_pinged = True
            self._transport.write(protocol.PING)

    def append(self, update: bytes, usual: Usual | None = None) -> None:
        """Log an update of this client's. Too much on its way stops the reading, never the appending (G5)."""
        if self.room is None:
            return
        self._unlogged.append(len(update))
        if self._unlogged.size_bytes > UNLOGGED_BYTES_MAX and self._may_read is None:
            self._may_read = asyncio.Event()
        self._appender.append(self.room.board, update, self, usual)

    def drop(self) -> None:
        """See room.Member."""
        self._unlogged.drop()
        self._settled()

    def tell_saved(self) -> None:
        """Answer a Hello, and every further one. From now on the count follows whenever it grows (L11)."""
        self._told_saved = self._unlogged.settled
        self.send(protocol.welcome(can_append=self.grant.can_append) + protocol.saved(self._told_saved))

    def unsaved(self) -> None:
        """See room.Member. A count that follows speaks of what came before: the client waits for its next answer."""
        if self._told_saved is not None:
            self.send(protocol.unsaved())

    # What the appender says (appender.Source)

    def logged(self, updates: int, appended: Appended) -> None:
        """See appender.Source."""
        self._unlogged.logged(updates)
        self._settled()
        if self._unlogged.size_bytes <= UNLOGGED_BYTES_MAX:
            self._let_read()
        if self.room is not None and self._unlogged.is_empty:  # all that it has said is in the log
            self.room.logged(self, appended.cursor)

    def append_failed(self, error: BoardLogError) -> None:
        """See appender.Source: nothing after it may be appended, so the socket ends here (L10)."""
        self._let_read()
        self.close(*close_for(error))

    def _let_read(self) -> None:
        if self._may_read is not None:
            self._may_read.set()
            self._may_read = None

    # The shell

    async def serve(self, room: Room) -> None:
        """Join the room and read until the socket ends. What was read is appended whatever happens to it."""
        self.room = room
        try:
            self._attach(room)
            self._socket.listen(self._inbox)
            await self._ended
        finally:
            if self._waiting is not None:
                self._waiting.cancel()
            self.room = None
            room.detach(self)
            self._inbox.end()
            self._outbox.end()
            if self._closing is not None:
                self._closing.cancel()
            if not self._inbox.is_lost and self._transport.get_write_buffer_size():
                # The transport closes when all of it has been taken: of a client that takes nothing, never.
                self._loop.call_later(CLOSE_SECONDS_MAX, self.cut)
            self.ended()

    def _attach(self, room: Room) -> None:
        try:
            room.attach(self)
        except ValueError as error:  # InvalidUpdate too
            # A damaged snapshot is the operator's to mend; the client is told to come back, not cut off.
            log.error("state_unreadable", board=room.board, reason=str(error))  # noqa: TRY400  the sentence says it
            self.close(*close_for(StorageUnavailable(str(error))))

    # What the inbox says (inbox.Receiver)

    def ended(self) -> None:
        """See inbox.Receiver."""
        if not self._ended.done():
            self._ended.set_result(None)

    def failed(self, error: Exception) -> None:
        """See inbox.Receiver. What follows is thrown away unread, and so is the client's answer to the close."""
        self._inbox.is_done = True
        match error:
            case TooLarge():
                self.close(CloseCode.TOO_LARGE, str(error))
            case BadFrame():
                self.close(error.code, str(error))
            case _:
                log.error("connection_failed", board=self.room.board if self.room else None, exc_info=error)
                self.close(CloseCode.TRY_AGAIN, "This server met an error: try again.")

    def rest(self) -> None:
        """See inbox.Receiver."""
        self._wait(asyncio.sleep(0))

    def take(self, opcode: int, payload: bytes) -> None:
        """See inbox.Receiver."""
        if opcode == Opcode.CLOSE:
            self._hung_up(payload)
        elif self._closing is not None or self.room is None:
            pass  # until the client has answered the close, or is cut off
        elif opcode == Opcode.BINARY:
            self._receive(self.room, payload)
        elif opcode == Opcode.PING:
            self.send(protocol.pong(payload))
        elif opcode == Opcode.TEXT:
            self.close(CloseCode.MALFORMED, "This server speaks binary frames only.")

    def _hung_up(self, payload: bytes) -> None:
        """Answer a client's close with its own code, if it is not the answer to ours; then hang up."""
        self._inbox.is_done = True
        if self._closing is None:
            self.close(int.from_bytes(payload[:2], "big") or NORMAL_CLOSURE, "")
        self._transport.close()

    def _receive(self, room: Room, frame: bytes) -> None:
        """Carry out one message, at once where nothing stands in the way."""
        command = self._session.receive(frame)
        if command is None:
            return
        if isinstance(command, (SendState, Validate)) or (not self._appender.has_room and _adds(room, command)):
            self._wait(self._receive_in_turn(room, command))
            return
        room.receive(self, command)
        if self._may_read is not None:
            self._wait(self._let_go_on(self._may_read.wait))

    async def _receive_in_turn(self, room: Room, command: Command | Validate) -> None:
        """Carry out a command that has to wait; afterwards, wait if this client has more on its way than may be."""
        if isinstance(command, Validate):
            command = await self._validated(command)
        if isinstance(command, SendState):
            await self._outbox.state_turn()
            await room.prepare(command.state_vector)  # last: what it made must not be replaced by what others ask for
        elif not self._appender.has_room and _adds(room, command):
            await self._let_go_on(self._appender.capacity)
        if self._closing is not None:
            return  # an earlier change was given up meanwhile: this one must not overtake it (L10)
        room.receive(self, command)
        if self._may_read is not None:
            await self._let_go_on(self._may_read.wait)

    def _wait(self, work: Coroutine[None, None, None]) -> None:
        """Carry out nothing more of this client's until this is done."""
        self._waiting = self._loop.create_task(self._go_on_after(work))
        self._inbox.hold()

    async def _go_on_after(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  `failed` tells it
            self.failed(error)
        self._waiting = None
        self._inbox.go_on()

    async def _let_go_on(self, ready: Callable[[], Awaitable[Any]]) -> None:
        """Wait until the log takes more (G5), or this connection ends. What is held back its author still has."""
        while self._closing is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(HELD_POLL_SECONDS):
                    await ready()
                    return
            if self._transport.is_closing():
                self.close(CloseCode.GOING_AWAY, "The client has gone.")

    async def _validated(self, command: Validate) -> Command:
        """Have a large change validated. What this client sends meanwhile waits in its socket (L10, G7)."""
        try:
            ranges = await self._validator.validate(command.change.update)
        except InvalidUpdate as error:
            return Close(CloseCode.MALFORMED, str(error))
        except NotValidated as error:
            return Close(CloseCode.TRY_AGAIN, str(error))
        return self._session.validated(command.change, ranges)

    def _settled(self) -> None:
        if self._told_saved is not None and self.room is not None:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due and not self._outbox.is_behind:
            self._flush_is_due = True
            self._outboxes.flush_soon(self)

    def flush(self) -> None:
        """Write what waits. While a client is behind its outbox writes by itself, and calls this when it is not."""
        self._flush_is_due = False
        if self._closing is not None or self._outbox.is_behind:
            return
        if self._told_saved is not None and self._told_saved < self._unlogged.settled:
            self._told_saved = self._unlogged.settled
            self._outbox.add(protocol.saved(self._told_saved))
        self._outbox.write()

    def _too_slow(self, reason: str) -> None:
        self.close(CloseCode.TOO_SLOW, reason)


def _adds(room: Room, command: Command) -> bool:
    """Whether a command adds to the log: joins, presence and echoes go on while it is full (L12)."""
    match command:
        case Append():
            return True
        case Refill(_, ranges):
            return ranges is None or room.state is None or not room.state.covers(ranges)
        case _:
            return False
