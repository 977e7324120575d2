"""What a pass has to do with a board, decided from what it found there (pure)."""

from typing import NamedTuple

from boardlog.ids import Cursor, EntryId

SETTLE_MS = 300_000
"""How old a snapshot has to be before the log is trimmed to its own entry (L8).

Until then the log reaches back to the snapshot before, which a database has again that failed over to a lagging
replica. A younger one must not count as settled, whatever made the board due: its last client may have left again.
"""

SCARCE_SETTLE_MS = 15_000
"""The same where memory is scarce (G5): as much as a replica may lag behind whatever happens.

So many slices of a long log, stored one soon after the other, also leave it as it was before the first of them.
"""

_EVERYTHING = EntryId(0, 0)


class Found(NamedTuple):
    """Where a board stands."""

    snapshot: Cursor
    kept_from: EntryId
    """Where the log begins that the snapshot before would need."""
    head: Cursor
    """The log's last entry, or the snapshot's cursor if there is no log."""
    in_stream: bool
    """Whether there is a log at all."""
    linked: bool
    """Whether the snapshot's own entry stands in it. If not, history was lost (L6)."""
    rebased: bool
    """Whether an entry above the snapshot's tells every reader to reload: a rebase for this loss, by whomever."""
    age_ms: int
    """How long ago the snapshot was stored."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the snapshot holds all of the log."""
        return self.head == self.snapshot


class Skip(NamedTuple):
    """There is nothing to do."""


class Rebase(NamedTuple):
    """Reconnect the log first, so that every reader reloads, then look again (L6)."""


class Fold(NamedTuple):
    """Fold the log into the snapshot, store it, then trim the log below `keep_from` (L7, L8)."""

    keep_from: EntryId


class Trim(NamedTuple):
    """Trim the log below `keep_from` without a new snapshot."""

    keep_from: EntryId
    again_after_ms: int | None
    """When to look again whether the snapshot has settled; None if the log is as short as it gets."""


def plan(found: Found, settle_ms: int = SETTLE_MS) -> Skip | Rebase | Fold | Trim:
    """Decide what to do with a board, whose snapshot counts as settled after `settle_ms`."""
    if not found.in_stream:
        return Skip()
    if not found.linked:
        # The log's old entries may be in no snapshot, not even in the one before: nothing may be dropped by its id.
        return Fold(_EVERYTHING) if found.rebased else Rebase()
    if not found.is_unchanged:
        return Fold(found.snapshot.id if found.age_ms >= SCARCE_SETTLE_MS else found.kept_from)
    if found.age_ms < settle_ms:
        # Again from the snapshot before: whoever stored this one may have died before its trim.
        return Trim(found.kept_from, settle_ms - found.age_ms)
    return Trim(found.snapshot.id, None)
