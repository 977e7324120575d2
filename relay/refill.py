"""Asking editors for what the log lacks after a loss: one first, the others when its answer is in the log (L5)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from boardlog.ids import Cursor, EntryId
from relay.presence import Timer

ANSWER_SECONDS_MAX = 5.0
"""An editor that has not answered by then is passed over: its tab may sleep, its line may be cut."""

M = TypeVar("M")


class Asking:
    """One round. Ends by itself when nobody is left to ask."""

    def __init__(
        self,
        editors: Sequence[M],
        ask: Callable[[M], None],
        call_later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        """Ask the first of `editors` at once."""
        self._waiting = list(editors)
        self._ask = ask
        self._call_later = call_later
        self._asked: M | None = None
        self._awaited: Cursor | None = None
        self._delivered = EntryId(0, 0)
        self._has_answered = False
        self._timer: Timer | None = None
        self._next()

    def answered(self, member: M, *, brings_news: bool) -> None:
        """Hear a SyncStep2. One that brought nothing new settles the round at once, another when it is logged."""
        if member is self._asked:
            self._has_answered = True
            if not brings_news:
                self._ask_everyone()

    def logged(self, member: M, cursor: Cursor) -> None:
        """Hear that something of this member stands in the log."""
        if member is self._asked and self._has_answered:
            self._awaited = cursor
            if cursor.id <= self._delivered:  # the tail was faster than the appender's reply
                self._ask_everyone()

    def delivered(self, cursors: Sequence[Cursor]) -> None:
        """Hear what the log has brought: once the answer is in our state, the others will not send it again."""
        self._delivered = max(self._delivered, cursors[-1].id)
        if self._awaited in cursors:
            self._ask_everyone()

    def left(self, member: M) -> None:
        """Hear that a member has gone."""
        if member in self._waiting:
            self._waiting.remove(member)
        if member is self._asked:
            self._next()

    def stop(self) -> None:
        """End the round."""
        self._waiting.clear()
        self._asked = self._awaited = None
        if self._timer is not None:
            self._timer.cancel()

    def _next(self) -> None:
        waiting = self._waiting[1:]
        asked = self._waiting[:1]
        self.stop()
        self._has_answered = False
        if asked:
            self._waiting = waiting
            self._asked = asked[0]
            self._timer = self._call_later(ANSWER_SECONDS_MAX, self._next)
            self._ask(asked[0])

    def _ask_everyone(self) -> None:
        others = list(self._waiting)
        self.stop()
        for member in others:
            self._ask(member)
