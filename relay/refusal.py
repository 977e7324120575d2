"""A socket that is not let in: whatever it sends is nobody's, until it has taken its close."""

import asyncio

from relay import protocol
from relay.frames import BadFrame, FrameReader, Opcode, TooLarge
from relay.socket import Stream

MESSAGE_BYTES_MAX = 64 * 1024
"""What is looked through for its answer; of who sends more, no answer is heard."""
FRAMES_MAX = 1000
"""As MESSAGE_BYTES_MAX: nobody has shown a key here, and a read may bring thousands of empty frames (G7)."""
ANSWER_SECONDS_MAX = 4.0
"""A client that has not hung up by then after its close frame is cut off."""


class Refusal:
    """Throws away what a client sends. Hanging up on what nobody has read would lose the close code on its way."""

    def __init__(self, socket: Stream) -> None:
        """Refuse what comes through `socket`, which has been opened."""
        self._transport = socket.transport
        self._frames: FrameReader | None = FrameReader(MESSAGE_BYTES_MAX)
        self._frames_left = FRAMES_MAX
        self._gone = asyncio.Event()
        socket.listen(self)

    def received(self, data: bytes) -> None:
        """See socket.Listener."""
        if self._frames is None:
            return
        self._frames.feed(data)
        try:
            while self._frames_left and (message := self._frames.next()) is not None:
                self._frames_left -= 1
                if message.opcode == Opcode.CLOSE:
                    self._transport.close()
            if not self._frames_left:
                self._frames = None
        except (BadFrame, TooLarge):
            self._frames = None

    def lost(self) -> None:
        """See socket.Listener."""
        self._gone.set()

    async def hold(self, seconds: float) -> None:
        """Wait so long, or until the client has gone. Cancel-safe."""
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            pass

    async def close(self, code: int, reason: str) -> None:
        """Tell why, and return when the client has gone, or was cut off. Cancel-safe."""
        if not self._gone.is_set() and not self._transport.is_closing():
            self._transport.write(protocol.close(code, reason))
        await self.hold(ANSWER_SECONDS_MAX)
        if not self._gone.is_set():
            self._transport.abort()
