"""What has come from one socket and is not carried out yet: cut into messages, each given on in its turn (pure).

The counterpart of `outbox`. Whoever carries messages out says `hold` where one has to wait, and `go_on` when it is
done: what came behind it stays here, and what comes then stays with the client, for its socket is not read meanwhile.
"""

from typing import Protocol

from relay.frames import FrameReader

TURN_MESSAGES_MAX = 100
"""Of one client in a turn of the loop, 4 ms at most: a read may bring thousands, and others wait meanwhile (G7)."""


class Tap(Protocol):
    """Where a socket's bytes come from: of an asyncio.Transport, what is needed here."""

    def is_closing(self) -> bool:
        """Whether nothing comes any more, and nothing else may be asked of it."""

    def pause_reading(self) -> None:
        """Leave what comes with the client. Harmless if that is so."""

    def resume_reading(self) -> None:
        """Read again. Harmless if that is so."""


class Receiver(Protocol):
    """Who carries out what a client says. All calls are synchronous; `take` alone may raise."""

    def take(self, opcode: int, payload: bytes) -> None:
        """Carry out a message, or `hold` the inbox until that is done."""

    def rest(self) -> None:
        """Hold the inbox until the next turn of the loop: this one has seen enough of this client."""

    def failed(self, error: Exception) -> None:
        """End what cannot go on: a frame was bad or too large, or `take` raised this."""

    def ended(self) -> None:
        """Hear that all that came is carried out, and nothing follows."""


class Inbox:
    """Messages of one socket, in order (socket.Listener)."""

    __slots__ = ("_frames", "_receiver", "_tap", "has_spoken", "is_done", "is_held", "is_lost")

    def __init__(self, tap: Tap, message_bytes_max: int, receiver: Receiver) -> None:
        """Give what comes through `tap` to `receiver`; messages have `message_bytes_max` at most."""
        self._tap = tap
        self._frames = FrameReader(message_bytes_max)
        self._receiver: Receiver | None = receiver
        self.has_spoken = False
        """Whether anything has come since this was last set back."""
        self.is_held = False
        """Whether a message waits to be carried out: nothing is read."""
        self.is_done = False
        """Set when nothing more is to be taken: what comes is thrown away unread."""
        self.is_lost = False
        """Whether the socket has ended."""

    def received(self, data: bytes) -> None:
        """See socket.Listener."""
        self.has_spoken = True
        if not self.is_done:
            self._frames.feed(data)
            if not self.is_held:
                self._read()
            elif not self._tap.is_closing():
                # Whoever handed us what came before we listened has resumed the reading that our first wait had paused.
                self._tap.pause_reading()

    def lost(self) -> None:
        """See socket.Listener. What came before it is still carried out, in its order."""
        self.is_lost = True
        if not self.is_held:
            self._ended()

    def hold(self) -> None:
        """Read nothing until `go_on`: what the client says next stays in its order, and with the client (G7)."""
        self.is_held = True
        if not self._tap.is_closing():
            self._tap.pause_reading()

    def go_on(self) -> None:
        """Give on what came meanwhile, and read again, unless something of it has to wait."""
        self.is_held = False
        self._read()
        if not self.is_held:
            if self.is_lost:
                self._ended()
            elif not self._tap.is_closing():
                self._tap.resume_reading()

    def end(self) -> None:
        """Give on nothing any more, and let go of the receiver: each holds the other, and no collector comes soon."""
        self.is_done = True
        self._receiver = None

    def _read(self) -> None:
        """Give on the messages that are there, up to one that has to wait."""
        receiver = self._receiver
        if receiver is None:
            return
        try:
            left = TURN_MESSAGES_MAX
            while not self.is_held and not self.is_done:
                message = self._frames.next()
                if message is None:
                    break
                receiver.take(*message)
                left -= 1
                if not left and not self.is_held:
                    receiver.rest()
        except Exception as error:  # noqa: BLE001  the receiver's to tell: it must reach nobody else's socket
            receiver.failed(error)

    def _ended(self) -> None:
        if self._receiver is not None:
            self._receiver.ended()
