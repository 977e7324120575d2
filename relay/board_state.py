"""A board's state as one node holds it: encoded bytes, never a live document (pure).

State = base + updates, every one idempotent: base is the snapshot or what was folded here, updates are what the log
brought since. What a client lacks is cut out of those bytes with nothing pending dropped (a Y.Doc would drop it).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from boardlog.coverage import Coverage
from boardlog.errors import InvalidUpdate
from boardlog.links import Ranges
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, difference, parse_state_vector
from boardlog.update import validate

FOLD_UPDATES = 500
"""From this many updates on, folding them into the base is cheaper than sending them to every joiner."""
FOLD_BYTES = 1024 * 1024


class BoardState:
    """The bytes, and what is known to be in them."""

    def __init__(self, base: bytes, updates: Iterable[bytes]) -> None:
        """Hold a state; nothing is computed before somebody asks."""
        self._base = base
        self._updates = list(updates)
        self._updates_bytes = sum(len(update) for update in self._updates)
        self._coverage: Coverage | None = None
        self._covered = 0
        self._base_vector: dict[int, int] = {}
        self._base_remainder = EMPTY_UPDATE

    def add(self, updates: Iterable[bytes]) -> None:
        """Take what the log brought."""
        for update in updates:
            self._updates.append(update)
            self._updates_bytes += len(update)

    @property
    def size_bytes(self) -> int:
        """What this state holds in memory."""
        return len(self._base) + self._updates_bytes

    @property
    def has_news(self) -> bool:
        """Whether the log brought anything that the base lacks."""
        return bool(self._updates)

    @property
    def is_long(self) -> bool:
        """Whether the updates should be folded into the base."""
        return len(self._updates) >= FOLD_UPDATES or self._updates_bytes > max(FOLD_BYTES, len(self._base))

    def parts(self) -> tuple[bytes, Sequence[bytes]]:
        """Return base and updates as they are now, to be folded elsewhere."""
        return self._base, tuple(self._updates)

    def folded(self, base: bytes, count: int) -> None:
        """Take the base into which the first `count` updates were folded."""
        self._base = base
        del self._updates[:count]
        self._updates_bytes = sum(len(update) for update in self._updates)
        self._coverage = None

    def lacking(self, state_vector: bytes) -> list[bytes]:
        """Return, as updates to apply in turn, whatever a client with this (validated) vector may lack (G2).

        A client that has the base gets only the base's deletions and what came after: the cost is that of what it
        missed, not of the board.
        """
        if state_vector == EMPTY_STATE_VECTOR:
            return [self._base, *self._updates]
        self._cover()
        has = parse_state_vector(state_vector)
        if all(has.get(client, 0) >= clock for client, clock in self._base_vector.items()):
            return [self._base_remainder, *self._updates]
        return [difference(self._base, state_vector), *self._updates]

    def lacking_after(self, earlier: "BoardState") -> list[bytes]:
        """Return what whoever has `earlier` lacks of this state: deletions and pending parts too (L5)."""
        return self.lacking(earlier.state_vector())

    def state_vector(self) -> bytes:
        """Return the vector of what is surely here: never more, so that a client asked by it keeps nothing back."""
        return self._cover().state_vector()

    def covers(self, ranges: Ranges) -> bool:
        """Whether an update with these ranges would bring nothing, its deletions included (L12)."""
        return self._cover().covers(ranges)

    def _cover(self) -> Coverage:
        """Bring the coverage up to date: of the base at once, of an update when it is first asked for."""
        if self._coverage is None:
            self._coverage = Coverage.of_state(self._base)
            base_vector = self._coverage.state_vector()
            self._base_vector = parse_state_vector(base_vector)
            self._base_remainder = difference(self._base, base_vector)
            self._covered = 0
        for update in self._updates[self._covered :]:
            with suppress(InvalidUpdate):  # not covered, then: that costs bytes, never an edit
                self._coverage.add(validate(update))
        self._covered = len(self._updates)
        return self._coverage
