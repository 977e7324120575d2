"""Time that tests let pass, and frames taken apart, for presence and rooms."""

import heapq
from collections.abc import Callable
from itertools import count


def messages_in(frames: bytes) -> list[bytes]:
    """Take joined WebSocket frames apart; fragments become the message that they are of."""
    messages = []
    fragments = b""
    while frames:
        size, begin = frames[1], 2
        if size > 125:
            begin = 4 if size == 126 else 10
            size = int.from_bytes(frames[2:begin], "big")
        fragments += frames[begin : begin + size]
        if frames[0] & 0x80:
            messages.append(fragments)
            fragments = b""
        frames = frames[begin + size :]
    assert not fragments, "the last message is cut short"
    return messages


def send_all(send: Callable[[bytes], None]) -> Callable[[bytes], bool]:
    """Return the `write_through` of a member that takes everything at once."""

    def write_through(frames: bytes) -> bool:
        send(frames)
        return True

    return write_through


class Handle:
    def __init__(self) -> None:
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """Time that passes when told to, and what is to happen then."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._due: list[tuple[float, int, Callable[[], None], Handle]] = []
        self._order = count()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        assert seconds >= 0
        handle = Handle()
        heapq.heappush(self._due, (self.seconds + seconds, next(self._order), callback, handle))
        return handle

    def call_at(self, moment: float, callback: Callable[[], None]) -> Handle:
        return self.call_later(moment - self.seconds if moment > self.seconds else 0.0, callback)

    def pass_(self, seconds: float) -> None:
        """Let time pass; what is due at the very end happens too."""
        end = self.seconds + seconds
        while self._due and self._due[0][0] <= end + 1e-6:
            self.seconds, _, callback, handle = heapq.heappop(self._due)
            if not handle.is_cancelled:
                callback()
        self.seconds = end

    @property
    def waiting(self) -> int:
        return sum(not handle.is_cancelled for *_, handle in self._due)
