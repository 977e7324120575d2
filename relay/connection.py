"""One socket: reads frames into its session, writes its outbox once a turn of the loop.

Frames are built once for all members and written straight to the transport, joined: a write costs a system call, the
bytes in it next to nothing.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import WSMsgType, web

from boardlog.appender import Appender
from boardlog.awareness import EMPTY
from boardlog.errors import BoardLogError, InvalidUpdate, StorageUnavailable
from boardlog.grant import Grant
from boardlog.stream import Appended
from boardlog.usual import Usual
from boardlog.validating import NotValidated, Validator
from relay import protocol
from relay.outbox import Outbox, Outboxes, Pipe
from relay.room import Room, close_for
from relay.session import Append, Close, CloseCode, Command, Refill, SendState, Session, Validate
from relay.socket import MessageTooLarge
from relay.unlogged import Unlogged

log = structlog.get_logger()

UNLOGGED_BYTES_MAX = 4 * 1024 * 1024
"""A client whose updates of this size wait for the log is not read until they are in it."""
CLOSE_SECONDS_MAX = 5.0
"""A client that does not take its close frame in this time is cut off."""
REFUSED_POLL_SECONDS = 0.05
"""How often it is looked whether who sent too large a message has gone."""
HELD_POLL_SECONDS = 1.0
"""How often a client that is held back is looked after: it may have gone."""
QUIET_SECONDS_MAX = 20.0
"""A client that was sent nothing for this long gets a frame: stock ones drop a silent socket at 30 s (L16)."""

_ALIVE = protocol.awareness(EMPTY)

AGE_SPREAD = 0.1


def age_limit_seconds(about_seconds: float, uniform: Callable[[float, float], float]) -> float:
    """Draw how old a connection may become: AGE_SPREAD more or less, so that who came at once does not go at once."""
    return about_seconds * uniform(1 - AGE_SPREAD, 1 + AGE_SPREAD)


class Connection:
    """A client that has joined a room: its member, and the source of its updates."""

    def __init__(
        self,
        websocket: web.WebSocketResponse,
        pipe: Pipe,
        session: Session,
        appender: Appender,
        validator: Validator,
        outboxes: Outboxes,
        age_seconds_max: float,
    ) -> None:
        """Serve `websocket`, whose bytes go through `pipe`."""
        self.grant: Grant = session.grant
        self.room: Room | None = None
        self._websocket = websocket
        self._transport = pipe.transport
        self._session = session
        self._appender = appender
        self._validator = validator
        self._outbox = Outbox(pipe, outboxes, self._too_slow, self._flush)
        self._flush_is_due = False
        self._unlogged = Unlogged()
        self._told_saved: int | None = None  # it did not ask
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._old_at = self._sent_at + age_seconds_max
        self._closing: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()

    # What the room does (room.Member)

    def send(self, frame: protocol.Frame) -> None:
        """Queue a frame; whatever this turn of the loop brings is written at once, at its end."""
        if self._closing is None:
            self._outbox.add(frame)
            self._flush_soon()

    def send_state(self, messages: Sequence[protocol.Shared]) -> None:
        """Queue a board's state. What waits may exceed the outbox's bound by its size, until it has been taken."""
        if self._closing is None:
            self._outbox.add_state(messages)
            self._flush_soon()

    def close(self, code: CloseCode, reason: str) -> None:
        """Close soon; nothing that comes after it is taken. Synchronous; the first call counts.

        What the socket takes at once is written before it, what would have to wait is dropped: a client that is behind
        must not wait for its close, and gets what it lacks where it reconnects.

        `serve` reads on until the client has answered: to hang up on data that nobody has read would reset the
        connection, and the code would be lost on its way (aiohttp's own close does, from beside a reader).
        """
        self._flush()  # by which it may be closed already, as too slow
        if self._closing is None:
            self._outbox.close()
            self._closing = self._loop.call_later(CLOSE_SECONDS_MAX, self.cut)
            if not self._transport.is_closing():
                self._transport.write(protocol.close(code, reason))

    async def closed(self) -> None:
        """Return when this connection has ended. Cancel-safe."""
        await self._ended.wait()

    def cut(self) -> None:
        """End at once, without a word. Harmless if it has ended."""
        self._outbox.close()
        if self._transport.get_write_buffer_size() or not self._transport.is_closing():
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
        elif now - self._sent_at > QUIET_SECONDS_MAX and not self._outbox.is_behind:
            self.send(_ALIVE)

    def append(self, update: bytes, usual: Usual | None = None) -> None:
        """Log an update of this client's. Too much on its way stops the reading, never the appending (G5)."""
        if self.room is None:
            return
        self._unlogged.append(len(update))
        if self._unlogged.size_bytes > UNLOGGED_BYTES_MAX:
            self._may_read.clear()
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
            self._may_read.set()
        if self.room is not None and self._unlogged.is_empty:  # all that it has said is in the log
            self.room.logged(self, appended.cursor)

    def append_failed(self, error: BoardLogError) -> None:
        """See appender.Source: nothing after it may be appended, so the socket ends here (L10)."""
        self._may_read.set()
        self.close(*close_for(error))

    # The shell

    async def serve(self, room: Room) -> None:
        """Join the room and read until the socket ends. What was read is appended whatever happens to it."""
        self.room = room
        try:
            self._attach(room)
            async for message in self._websocket:
                if self._closing is not None:
                    continue  # until the client has answered the close, or is cut off
                if message.type is WSMsgType.ERROR:
                    await self._failed(message.data)
                    break
                if message.type is WSMsgType.BINARY:
                    await self._receive(room, message.data)
                else:
                    self.close(CloseCode.MALFORMED, "This server speaks binary frames only.")
        except ConnectionResetError:
            # aiohttp answers pings by itself, also those of a client that has hung up by now. Closed, it holds nothing
            # any more.
            await self._websocket.close()
        finally:
            self.room = None
            room.detach(self)
            self._outbox.close()
            if self._closing is not None:
                self._closing.cancel()
            if self._transport.get_write_buffer_size():
                # aiohttp closes when all of it has been taken: of a client that takes nothing, never.
                self._loop.call_later(CLOSE_SECONDS_MAX, self.cut)
            self._ended.set()

    def _attach(self, room: Room) -> None:
        try:
            room.attach(self)
        except ValueError as error:  # InvalidUpdate too
            # A damaged snapshot is the operator's to mend; the client is told to come back, not cut off.
            log.error("state_unreadable", board=room.board, reason=str(error))  # noqa: TRY400  the sentence says it
            self.close(*close_for(StorageUnavailable(str(error))))

    async def _receive(self, room: Room, frame: bytes) -> None:
        """Carry out one frame; then wait, if this client has more on its way than may be."""
        command = self._session.receive(frame)
        if isinstance(command, Validate):
            command = await self._validated(command)
        if command is None:
            return
        if isinstance(command, SendState):
            await self._outbox.state_turn()
        elif not self._appender.has_room and _adds(room, command):
            await self._let_go_on(self._appender.capacity)
        if self._closing is not None:
            return  # an earlier change was given up meanwhile: this one must not overtake it (L10)
        room.receive(self, command)
        if not self._may_read.is_set():
            await self._let_go_on(self._may_read.wait)

    async def _let_go_on(self, ready: Callable[[], Awaitable[Any]]) -> None:
        """Wait until the log takes more (G5), or this connection ends. What is held back its author still has.

        The socket is not read meanwhile, so that what the client says next stays in its order, and with the client.
        """
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

    async def _failed(self, error: Exception) -> None:
        """End a socket whose frames cannot be read. It has been closed with a code of aiohttp's, but for one reason."""
        if isinstance(error, MessageTooLarge):
            # What follows of that message is thrown away unread, and so is the client's answer to the close.
            self.close(CloseCode.TOO_LARGE, str(error))
            while not self._transport.is_closing():  # noqa: ASYNC110  it calls nobody
                await asyncio.sleep(REFUSED_POLL_SECONDS)

    def _settled(self) -> None:
        if self._told_saved is not None and self.room is not None:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due and not self._outbox.is_behind:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Write what waits. While a client is behind its outbox writes by itself, and calls this when it is not."""
        self._flush_is_due = False
        if self._closing is not None or self._outbox.is_behind:
            return
        if self._told_saved is not None and self._told_saved < self._unlogged.settled:
            self._told_saved = self._unlogged.settled
            self._outbox.add(protocol.saved(self._told_saved))
        if self._outbox.write():
            self._sent_at = self._loop.time()

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
