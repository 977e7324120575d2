"""A board's state as a process holds it: encoded bytes, never a live document (pure).

State = base + updates, every one idempotent: base is the snapshot or what was folded here, updates are what the log
brought since. What a client lacks is cut out of those bytes with nothing pending dropped (a Y.Doc would drop it).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from pycrdt import get_state

from boardlog.coverage import Coverage
from boardlog.errors import InvalidUpdate
from boardlog.links import Ranges
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, difference, is_panic, parse_state_vector
from boardlog.update import dissect

FOLD_UPDATES = 500
"""From this many updates on, folding them into the base is cheaper than sending them to every joiner."""
FOLD_BYTES = 1024 * 1024
EXACT_BYTES_MAX = 1024 * 1024
EXACT_STRUCTS_MAX = 20_000
"""What a larger update covers is read natively, on the event loop as it is (G7), and so only where it begins at the
beginning of a client, as after a loss; its deletions, and all the rest, count from the fold on that is due at once."""


class BoardState:
    """The bytes, and what is known to be in them."""

    def __init__(self, base: bytes, updates: Iterable[bytes]) -> None:
        """Hold a state; nothing is computed before somebody asks."""
        self._base = base
        self._updates = list(updates)
        self._updates_bytes = sum(len(update) for update in self._updates)
        self._coverage: Coverage | None = None
        self._covered = 0
        self._has_inexact = any(len(update) > EXACT_BYTES_MAX for update in self._updates)
        self._base_vector: dict[int, int] = {}
        self._base_remainder = EMPTY_UPDATE

    def add(self, updates: Iterable[bytes]) -> None:
        """Take what the log brought."""
        for update in updates:
            self._updates.append(update)
            self._updates_bytes += len(update)
            self._has_inexact |= len(update) > EXACT_BYTES_MAX

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
        return (
            len(self._updates) >= FOLD_UPDATES
            or self._updates_bytes > max(FOLD_BYTES, len(self._base))
            or self._has_inexact
        )

    def parts(self) -> tuple[bytes, Sequence[bytes]]:
        """Return base and updates as they are now, to be folded elsewhere."""
        return self._base, tuple(self._updates)

    def folded(self, base: bytes, count: int) -> None:
        """Take the base into which the first `count` updates were folded."""
        self._base = base
        del self._updates[:count]
        self._updates_bytes = sum(len(update) for update in self._updates)
        self._has_inexact = any(len(update) > EXACT_BYTES_MAX for update in self._updates)
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

    def lost_by(self, later: "BoardState") -> list[tuple[bytes, Ranges]]:
        """Return, as updates and what they speak of, what this state has and `later` is not known to have (G4)."""
        lost = []
        there = set(later.parts()[1])
        for update in self.lacking(later.state_vector()):
            if update in there:
                continue
            with suppress(InvalidUpdate):  # unreadable: no log should have had it (G6)
                ranges, _ = dissect(update)
                if not later.covers(ranges):
                    lost.append((update, ranges))
        return lost

    def state_vector(self) -> bytes:
        """Return the vector of what is surely here: never more, so that a client asked by it keeps nothing back."""
        return self._cover().state_vector()

    def covers(self, ranges: Ranges) -> bool:
        """Whether an update with these ranges would bring nothing, its deletions included (L12)."""
        return self._cover().covers(ranges)

    def holds(self, update: bytes, ranges: Ranges) -> bool:
        """Whether this state has all of an update: also one too large for its ranges to be known exactly."""
        return self.covers(ranges) or update in self._updates

    def _cover(self) -> Coverage:
        """Bring the coverage up to date: of the base at once, of an update when it is first asked for."""
        if self._coverage is None:
            self._coverage = Coverage.of_state(self._base)
            base_vector = self._coverage.state_vector()
            self._base_vector = parse_state_vector(base_vector)
            self._base_remainder = difference(self._base, base_vector)
            self._covered = 0
        for update in self._updates[self._covered :]:
            with suppress(ValueError):  # not covered, then: that costs bytes, never an edit
                self._coverage.add(self._ranges(update))
        self._covered = len(self._updates)
        return self._coverage

    def _ranges(self, update: bytes) -> Ranges:
        """Return what an update covers, or a part of that. Raise ValueError if it cannot be read."""
        if len(update) <= EXACT_BYTES_MAX:
            with suppress(InvalidUpdate):
                return dissect(update, EXACT_STRUCTS_MAX)[0]
        self._has_inexact = True
        try:
            vector = parse_state_vector(get_state(update))
        except BaseException as error:
            if is_panic(error):
                raise InvalidUpdate(f"What an update covers cannot be read: {error}") from error
            raise
        return Ranges({client: [(0, end)] for client, end in vector.items() if end}, {})
