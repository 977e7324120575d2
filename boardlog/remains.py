"""What a process still holds of a board that its log has lost, until the log has it again (G4).

After a failover or a loss of memory the log is rebuilt from the snapshot, from what editors' browsers hold, and from
what nodes and bridges held: whatever they had read before. Every one of them may have it. So each waits a random while,
looks again, and appends only what nobody else has brought; and looks again later, for an append may fail, or be lost.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import structlog
from prometheus_client import Counter

from boardlog.errors import BoardLogError
from boardlog.ids import BoardId
from boardlog.links import Ranges
from boardlog.stream import Appended
from boardlog.telemetry import METRICS

log = structlog.get_logger()

WAIT_SECONDS_MAX = 1.0
"""An editor that is asked has mostly answered by then, and not all processes append at once."""
AGAIN_SECONDS = 30.0
"""Longer than an append is tried (retry.RETRY_SECONDS_MAX): by then it is logged or given up."""
LOOKS_MAX = 40
"""After 20 minutes nobody looks again: the log has it, though what it has cannot be told, or an operator has to act."""

REBUILT = Counter("log_rebuilt_bytes_total", "Bytes that this process appended anew after a loss", registry=METRICS)


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None:
        """Do not call."""


def _cannot_tell(_update: bytes, _ranges: Ranges) -> None:
    pass


class Remains:
    """One board's. Also the source (appender.Source) of what it appends; what became of it, the next look tells."""

    def __init__(
        self,
        board: BoardId,
        holds: Callable[[bytes, Ranges], bool | None],
        append: Callable[[bytes, "Remains"], None],
        call_later: Callable[[float, Callable[[], None]], Timer],
        jitter: Callable[[float, float], float],
    ) -> None:
        """`holds`: whether the log has all of an update, as far as the reader knows; None: it cannot tell."""
        self._board = board
        self._holds = holds
        self._append = append
        self._call_later = call_later
        self._jitter = jitter
        self._updates: dict[bytes, Ranges] = {}
        self._appended: set[bytes] = set()
        self._looks = 0
        self._timer: Timer | None = None

    @property
    def are_none(self) -> bool:
        """Whether the log has all of it, as far as is known."""
        return not self._updates

    def keep(self, updates: Iterable[tuple[bytes, Ranges]]) -> None:
        """Take what was held and is not in the log any more, and what it speaks of."""
        self._updates.update(updates)
        self._looks = 0
        if self._updates and self._timer is None:
            self._timer = self._call_later(self._jitter(0.0, WAIT_SECONDS_MAX), self._look)

    def close(self) -> None:
        """Append at once what the log still lacks, for nobody looks again. Harmless if repeated."""
        self._append_missing(is_last=True)
        self.forget()
        self._holds = _cannot_tell  # it is the reader's: each would keep the other, and a whole board, from being freed

    def forget(self) -> None:
        """Give it up: there is no log to which it could go."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._updates.clear()
        self._appended.clear()

    def logged(self, updates: int, appended: Appended) -> None:
        """See appender.Source."""

    def append_failed(self, error: BoardLogError) -> None:
        """See appender.Source."""

    def _look(self) -> None:
        self._timer = None
        self._append_missing()
        self._looks += 1
        if self._updates and self._looks < LOOKS_MAX:
            self._timer = self._call_later(AGAIN_SECONDS, self._look)
        elif self._updates:
            log.error("board_not_rebuilt", board=self._board, updates=len(self._updates))
            self.forget()

    def _append_missing(self, *, is_last: bool = False) -> None:
        """Append what is not there. Where nobody can tell, not twice: that would fill a log that nobody folds."""
        known = {update: self._holds(update, ranges) for update, ranges in self._updates.items()}
        self._updates = {update: ranges for update, ranges in self._updates.items() if not known[update]}
        missing = [one for one in self._updates if is_last or known[one] is False or one not in self._appended]
        if missing:
            size_bytes = sum(map(len, missing))
            log.warning("board_rebuilt", board=self._board, updates=len(missing), bytes=size_bytes)
            REBUILT.inc(size_bytes)
        self._appended.update(missing)
        for update in missing:
            self._append(update, self)
