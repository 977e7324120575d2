"""What waits for one socket, and for all sockets of a node: bounded in bytes and in time (G7).

A socket is given the next piece when it has taken the last one. So what waits stands here and not in the transport,
where every client would have a copy of its own; and where a client is closed it can be let go of at once.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

import structlog
from prometheus_client import Counter, Gauge

from boardlog.telemetry import METRICS
from relay.protocol import FRAGMENT_BYTES, Frame, Shared
from relay.settings import RelaySettings

log = structlog.get_logger()

TURN_BYTES = 4 * FRAGMENT_BYTES
"""What one socket is given in a turn of the loop: a joiner that takes a large board must not hold up the others."""
FRAME_BYTES = 100
"""What a waiting frame costs beside its own bytes."""

WAITING = Gauge("relay_outboxes_bytes", "Bytes that wait for clients, what many wait for once", registry=METRICS)
BEHIND = Gauge("relay_outboxes_behind", "Clients that have not yet taken all that was sent to them", registry=METRICS)
TOO_SLOW = Counter("relay_too_slow_total", "Clients closed because they took too little", registry=METRICS)


class Pipe(Protocol):
    """Where a socket's bytes go."""

    @property
    def transport(self) -> asyncio.Transport:
        """What takes them."""

    async def taken(self) -> None:
        """Wait until the kernel has what the transport was given. Raises ConnectionError. Cancel-safe."""


class Flushed(Protocol):
    """Who has something to write."""

    def flush(self) -> None:
        """Write it. Synchronous; must not raise."""


class Outboxes:
    """The outboxes of a node in which something waits. What many wait for is counted once: it is there once."""

    def __init__(self, settings: RelaySettings) -> None:
        """Bound them by these settings."""
        self.bytes_max = settings.outbox_bytes_max
        self.seconds_max = settings.outbox_seconds_max
        self.waiting_bytes = 0
        self._all_bytes_max = settings.outboxes_bytes_max
        self._behind: dict[Outbox, None] = {}
        self._waiting_for: dict[int, int] = {}
        """By identity of a frame, or of a shared body: how many wait for it. Those who wait keep it alive."""
        self.state_turns = asyncio.Lock()
        """Held for a turn of the loop: to cut out what one client lacks may take milliseconds."""
        self._to_flush: list[Flushed] = []
        self._joined: tuple[list[bytes], bytes] = [], b""
        WAITING.set_function(lambda: self.waiting_bytes)
        BEHIND.set_function(lambda: len(self._behind))

    def flush_soon(self, who: Flushed) -> None:
        """Have someone flush at the end of this turn of the loop, with all others: one callback for a whole node."""
        if not self._to_flush:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_flush.append(who)

    def _flush(self) -> None:
        to_flush, self._to_flush = self._to_flush, []
        for who in to_flush:
            try:
                who.flush()
            except Exception:  # of one must not leave those behind it waiting for ever
                log.exception("flush_failed")
        self._joined = [], b""

    def joined(self, frames: list[bytes]) -> bytes:
        """Return these frames as one piece: made once where the members of a room have the same ones to write."""
        if len(frames) == 1:
            return frames[0]
        if self._joined[0] != frames:  # frames of the same room are the same objects: that takes nanoseconds
            self._joined = frames, b"".join(frames)
        return self._joined[1]

    def enter(self, outbox: "Outbox") -> None:
        """Count an outbox in which something waits from now on."""
        self._behind[outbox] = None

    def leave(self, outbox: "Outbox") -> None:
        """Count it no more. Harmless if it is not counted."""
        self._behind.pop(outbox, None)

    def hold(self, frames: Iterable[Frame]) -> None:
        """Count frames that an outbox keeps."""
        for frame in frames:
            key = _identity(frame)
            count = self._waiting_for.get(key, 0)
            self._waiting_for[key] = count + 1
            self.waiting_bytes += FRAME_BYTES if count else FRAME_BYTES + len(frame)

    def release(self, frames: Iterable[Frame]) -> None:
        """Count frames no more that an outbox kept."""
        for frame in frames:
            key = _identity(frame)
            count = self._waiting_for.pop(key) - 1
            if count:
                self._waiting_for[key] = count
            self.waiting_bytes -= FRAME_BYTES if count else FRAME_BYTES + len(frame)

    def relieve(self, now: float) -> None:
        """Close who has cost most, bytes times seconds, until what waits is within the node's bound.

        Not the fattest: that may be who has just asked for a large board, and takes it as fast as it comes.
        """
        while self.waiting_bytes > self._all_bytes_max and self._behind:
            worst = max(self._behind, key=lambda outbox: outbox.waiting_bytes * (now - outbox.behind_since))
            worst.give_up("Too much waits for clients of this node, most of it for this one.")


class Outbox:
    """Frames for one socket, in order."""

    __slots__ = (
        "_frames", "_has_shared", "_in_transport", "_is_closed", "_on_caught_up", "_on_too_slow", "_outboxes", "_pipe",
        "_position", "_state_bytes", "_state_frames", "_state_taken", "_transport", "_unsent_bytes", "_write",
        "_writing", "behind_since", "has_written", "waiting_bytes",
    )  # fmt: skip

    def __init__(
        self,
        pipe: Pipe,
        outboxes: Outboxes,
        on_too_slow: Callable[[str], None],
        on_caught_up: Callable[[], None],
    ) -> None:
        """Write to `pipe`.

        `on_too_slow` closes the connection, given a sentence; `on_caught_up`: nothing waits any more.
        """
        pipe.transport.set_write_buffer_limits(high=0)
        self.has_written = False
        """Whether anything was written since this was last set back."""
        self.waiting_bytes = 0
        """What waits here, shared or not, while the client is behind."""
        self.behind_since = 0.0
        self._pipe = pipe
        self._transport = pipe.transport
        self._write = pipe.transport.write
        self._unsent_bytes = pipe.transport.get_write_buffer_size
        self._outboxes = outboxes
        self._on_too_slow = on_too_slow
        self._on_caught_up = on_caught_up
        self._frames: list[Frame] = []
        self._has_shared = False
        """Whether a shared message is, or was, among them: whole frames alone can be written as they are."""
        self._position = 0
        """How much of the first frame has been taken, if it is a shared one."""
        self._in_transport = 0
        self._state_bytes = 0
        self._state_frames = 0
        """How many frames are to be taken until the last one of the state is."""
        self._state_taken: asyncio.Event | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_behind(self) -> bool:
        """Whether the client has not yet taken what it was given: more is written when it has."""
        return self._writing is not None

    def add(self, frame: Frame) -> None:
        """Queue a frame. For a client that is behind, this is where too much shows."""
        if self._is_closed:
            return
        self._frames.append(frame)
        if isinstance(frame, Shared):
            self._has_shared = True
        if self._writing is not None:
            self._hold([frame])

    def add_state(self, messages: Sequence[Frame]) -> None:
        """Queue a board's state. What waits may exceed the bound by its size, until it has been taken."""
        if self._is_closed:
            return
        self._frames += messages
        self._has_shared = True
        self._state_frames = len(self._frames)
        self._state_bytes += sum(map(_cost, messages))
        if self._writing is not None:
            self._hold(messages)

    async def state_turn(self) -> None:
        """Wait until a state may be asked for: until none waits here, and then for the node's turn. Cancel-safe.

        Asking again and again must not pile up whole boards, nor must many who ask at once stop the loop.
        """
        if self._state_frames:
            if self._state_taken is None:
                self._state_taken = asyncio.Event()
            await self._state_taken.wait()
        async with self._outboxes.state_turns:
            await asyncio.sleep(0)

    def write_through(self, frames: bytes) -> bool:
        """Write whole frames at once if nothing waits here; return whether that was so.

        What many clients get goes this way, one call each: it is where a node spends most of its time.
        """
        if self._frames or self._writing is not None or self._is_closed:
            return False
        try:
            self._write(frames)
            if self._unsent_bytes():
                self._fall_behind()
        except RuntimeError:  # the client has gone, and that it has will be told soon
            self.close()
        self.has_written = True
        return True

    def write(self) -> None:
        """Write what the socket takes now, the rest as it takes it."""
        frames = self._frames
        if self._writing is not None or not frames or self._is_closed:
            return
        if self._transport.is_closing():
            self.close()
            return
        if self._has_shared or sum(map(len, frames)) > TURN_BYTES:
            self._hand_over()
        else:
            self._frames = []
            self._transport.write(self._outboxes.joined(cast(list[bytes], frames)))
        if self._frames or self._transport.get_write_buffer_size():
            self._fall_behind()
        self.has_written = True

    def close(self) -> None:
        """Forget all that waits, and write nothing any more: a message may be half on its way. Idempotent."""
        self._is_closed = True
        self._release(len(self._frames))
        self._frames.clear()
        self._pass_state(self._state_frames)
        if self._writing is not None and self._writing is not asyncio.current_task():
            self._writing.cancel()
        self._catch_up()

    def end(self) -> None:
        """Close for good, and let go of the connection: each of them holds the other, and no collector comes soon."""
        self.close()
        self._on_too_slow, self._on_caught_up = _nothing, _nothing

    def give_up(self, reason: str) -> None:
        """Close the client: it has taken too little."""
        TOO_SLOW.inc()
        self.close()
        self._on_too_slow(reason)

    def _fall_behind(self) -> None:
        loop = asyncio.get_running_loop()
        self.behind_since = loop.time()
        self._writing = loop.create_task(self._write_as_taken())
        self._outboxes.enter(self)
        self._in_transport = self._transport.get_write_buffer_size()
        self._outboxes.waiting_bytes += self._in_transport
        self._hold(self._frames)

    async def _write_as_taken(self) -> None:
        me = asyncio.current_task()
        try:
            while self._writing is me and not self._transport.is_closing():
                async with asyncio.timeout(self._outboxes.seconds_max):
                    await self._pipe.taken()
                self._hand_over()
                if not self._frames and not self._transport.get_write_buffer_size():
                    break
                await asyncio.sleep(0)  # where the socket takes everything, others get their turn all the same
        except TimeoutError:
            self.give_up(f"This client has taken nothing for {self._outboxes.seconds_max:g} s.")
        except ConnectionError:
            self.close()
        if self._transport.is_closing():
            self.close()
        elif self._writing is me:
            self._catch_up()
            self._on_caught_up()

    def _catch_up(self) -> None:
        """Be behind no more: nothing waits, neither here nor in the transport, or nothing that will be taken."""
        self._outboxes.leave(self)
        self._outboxes.waiting_bytes -= self._in_transport
        self._in_transport = 0
        self._writing = None

    def _hand_over(self) -> None:
        given = 0
        # A write may be the one that finds out that the client has gone: to write on would be an error then.
        while self._frames and given < TURN_BYTES and self._takes_more():
            piece = self._take()
            self._transport.write(piece)
            given += len(piece)
        if self._writing is not None:
            before, self._in_transport = self._in_transport, self._transport.get_write_buffer_size()
            self._outboxes.waiting_bytes += self._in_transport - before

    def _takes_more(self) -> bool:
        return not self._transport.is_closing() and not self._transport.get_write_buffer_size()

    def _take(self) -> bytes:
        """Take the next piece off: FRAGMENT_BYTES, or less, or up to twice as much; always whole WebSocket frames."""
        piece: list[bytes] = []
        size = count = 0
        for frame in self._frames:
            if isinstance(frame, Shared):
                piece.append(frame.frame(self._position))
                self._position += FRAGMENT_BYTES
                if self._position < len(frame.body):
                    break
                self._position = 0
            else:
                piece.append(frame)
            count += 1
            size += len(piece[-1])
            if size >= FRAGMENT_BYTES:
                break
        self._release(count)
        del self._frames[:count]
        self._has_shared = self._has_shared and bool(self._frames)
        self._pass_state(count)
        return b"".join(piece)

    def _hold(self, frames: Sequence[Frame]) -> None:
        self.waiting_bytes += sum(map(_cost, frames))
        self._outboxes.hold(frames)
        # The first frame is being taken, and may be of any size by itself.
        first_bytes = _cost(self._frames[0]) if self._frames else 0
        if self.waiting_bytes - first_bytes > self._outboxes.bytes_max + self._state_bytes:
            self.give_up("This client takes its messages too slowly.")
        self._outboxes.relieve(asyncio.get_running_loop().time())

    def _release(self, count: int) -> None:
        """Account for the first `count` frames, which no longer wait."""
        if self._writing is None:
            return
        released = self._frames[:count]
        self.waiting_bytes -= sum(map(_cost, released))
        self._outboxes.release(released)

    def _pass_state(self, count: int) -> None:
        if self._state_frames:
            self._state_frames = max(0, self._state_frames - count)
            if not self._state_frames:
                self._state_bytes = 0
                if self._state_taken is not None:
                    self._state_taken.set()
                    self._state_taken = None


def _nothing(*_: object) -> None:
    pass


def _identity(frame: Frame) -> int:
    return id(frame.body if isinstance(frame, Shared) else frame)


def _cost(frame: Frame) -> int:
    return len(frame) + FRAME_BYTES
