"""A live document that follows a log, whatever order its updates are in (G3)."""

from collections.abc import Callable
from typing import Any

from pycrdt import Doc, get_update

from boardlog.cost import count_disputed
from boardlog.errors import InvalidUpdate
from boardlog.merge import (
    EMPTY_UPDATE,
    Folded,
    Panicked,
    Part,
    advance,
    apply_next,
    beyond,
    integrate,
    is_panic,
    merge_all,
    only_deletes,
    parse_state_vector,
    union,
)
from boardlog.update import dissect

FREE_BYTES_MAX = 512
TAKEN_BYTES_MAX = 256 * 1024
TAKEN_STRUCTS_MAX = 1_000
"""Structs and deletions, as many as there are shapes that a person drags at once: about 50 ms. Each may have to cut a
text that is in the document already: 1 ms for a megabyte of it."""
TAKEN_DISPUTED_MAX = 50
"""Items that claim a place of others: each may be compared with all that is in the document already, 0.1 us each."""


def is_dear(update: bytes) -> bool:
    """Tell an update that may hold an event loop for long, or cannot be read: it has to be folded in elsewhere (G6)."""
    if len(update) <= FREE_BYTES_MAX:
        return False
    if len(update) > TAKEN_BYTES_MAX:
        return True
    try:
        _, links = dissect(update, TAKEN_STRUCTS_MAX)
    except InvalidUpdate:
        return True
    return count_disputed(update, links) > TAKEN_DISPUTED_MAX


class Growing:
    """Gives a document each update once all that it depends on is there, and never before.

    Out of order, pycrdt leaves updates out for good; and where those of a forger contradict others that wait, it frees
    memory that is in use: the process dies. So what has to wait is kept here, as encoded.
    """

    def __init__(self, doc: Doc[Any], folded: Folded) -> None:
        """Begin with a state. The document must be empty; changing it is no concern of ours. Raises InvalidUpdate."""
        self._doc = doc
        self._waiting = EMPTY_UPDATE
        waiting = get_update(folded.state, folded.state_vector)
        if waiting[0]:
            self._try(self._settle, folded.state)
        else:
            self._try(doc.apply_update, folded.state)
            self._try(self._settle, waiting)

    @property
    def waiting(self) -> bytes:
        """What cannot be applied yet, as one update."""
        return self._waiting

    def take(self, update: bytes) -> None:
        """Apply an update, and whatever waited for it; or let it wait.

        Raise InvalidUpdate if that cannot be done: then the document is not what the log says, and has to be dropped.
        """
        self._try(self._take, update)

    def _try(self, step: Callable[[bytes], None], update: bytes) -> None:
        try:
            step(update)
        except BaseException as error:
            if isinstance(error, (ValueError, RuntimeError, Panicked)) or is_panic(error):
                raise InvalidUpdate(f"An update cannot be applied: {error}") from error
            raise

    def _take(self, update: bytes) -> None:
        part = Part(0, update, *dissect(update))
        is_applied = apply_next(self._doc, self._clocks(), part)
        if is_applied and self._waiting == EMPTY_UPDATE and not beyond(part.ranges.deletes, self._doc.get_state()):
            return
        self._settle(merge_all([self._waiting, get_update(update, self._doc.get_state())]))

    def _settle(self, waiting: bytes) -> None:
        """Apply of what waits what has all that it depends on, and all deletions; keep the rest."""
        _, links = dissect(waiting)
        counts, _ = advance(self._clocks(), links)
        if any(counts.values()):
            waiting = integrate(self._doc, waiting, self._clocks())
        deletes = union([dissect(waiting)[0].deletes])
        self._doc.apply_update(only_deletes(deletes))
        self._waiting = waiting if waiting[0] else only_deletes(beyond(deletes, self._doc.get_state()))

    def _clocks(self) -> dict[int, int]:
        return parse_state_vector(self._doc.get_state())
