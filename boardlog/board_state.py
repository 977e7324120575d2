"""A board's state as a process holds it: encoded bytes, never a live document (pure).

State = base + updates, every one idempotent: base is the snapshot or what was folded here, updates are what the log
brought since. What a client lacks is cut out of those bytes with nothing pending dropped (a Y.Doc would drop it).
"""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from pycrdt import get_state

from boardlog.coverage import Coverage, StateRead, read_state
from boardlog.errors import InvalidUpdate
from boardlog.links import Ranges
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, difference, is_panic, parse_state_vector
from boardlog.update import dissect

FOLD_UPDATES = 500
"""From this many updates on, folding them into the base is cheaper than sending them to every joiner."""
FOLD_BYTES = 1024 * 1024
HEAVY_UPDATES = 10_000
HEAVY_BYTES = 4 * 1024 * 1024
"""From so many on, a joiner should rather wait for the fold."""
EXACT_BYTES_MAX = 512 * 1024
EXACT_STRUCTS_MAX = 8_000
"""What a larger update covers is read natively, on the event loop as it is (G7), and so only where it begins at the
beginning of a client, as after a loss; its deletions, and all the rest, count from the fold on that is due at once."""
READ_HERE_BYTES_MAX = 256 * 1024
"""A larger base is dear to read and to cut: 40 ms a megabyte."""
COVER_UPDATES_MAX = 500
COVER_BYTES_MAX = 512 * 1024
"""What is read of the updates at once, at 10 us each or more; a little more where they are large."""
LATELY_BYTES_MAX = 64 * 1024
"""What is kept of updates that were folded, for those who come back; or a quarter of the base, where that is more."""
LATELY_MAX = 8
"""How many folds are remembered."""


class _Fold(NamedTuple):
    """A fold that was made here."""

    vector: dict[int, int]
    """What had come before it: who has that lacks the fold's updates alone, and those of later ones."""
    remainder: bytes
    """What waited for others in the base before it."""
    updates: list[bytes]


class BoardState:
    """The bytes, and what is known to be in them."""

    def __init__(self, base: bytes, updates: Iterable[bytes]) -> None:
        """Hold a state; nothing is computed before somebody asks."""
        self._base = base
        self._updates = list(updates)
        self._updates_bytes = sum(len(update) for update in self._updates)
        self._has_news = bool(self._updates)
        self._coverage: Coverage | None = None
        self._covered = 0
        self._has_inexact = any(len(update) > EXACT_BYTES_MAX for update in self._updates)
        self._base_vector: dict[int, int] = {}
        self._base_remainder = EMPTY_UPDATE
        self._lately: list[_Fold] = []
        self._difference: tuple[bytes, bytes] | None = None
        """A state vector, and what whoever has it lacks of the base."""

    def add(self, updates: Iterable[bytes]) -> None:
        """Take what the log brought."""
        for update in updates:
            self._updates.append(update)
            self._updates_bytes += len(update)
            self._has_inexact |= len(update) > EXACT_BYTES_MAX
            self._has_news = True

    @property
    def size_bytes(self) -> int:
        """What this state holds in memory."""
        return len(self._base) + self._updates_bytes

    @property
    def has_news(self) -> bool:
        """Whether the log had anything that the snapshot lacks. A fold here is not one: it is stored nowhere."""
        return self._has_news

    @property
    def is_long(self) -> bool:
        """Whether the updates should be folded into the base, some time."""
        return (
            len(self._updates) >= FOLD_UPDATES
            or self._updates_bytes > max(FOLD_BYTES, len(self._base))
            or self._has_inexact
        )

    @property
    def is_heavy(self) -> bool:
        """Whether the updates should be folded now: joiners had better wait for it."""
        return (
            len(self._updates) > HEAVY_UPDATES
            or self._updates_bytes > max(HEAVY_BYTES, len(self._base))
            or self._has_inexact
        )

    def parts(self) -> tuple[bytes, Sequence[bytes]]:
        """Return base and updates as they are now, to be folded elsewhere."""
        return self._base, tuple(self._updates)

    def folded(self, base: bytes, count: int, *, rejected: Collection[int] = (), read: StateRead | None = None) -> None:
        """Take the base into which the first `count` updates were folded, but for the rejected places.

        `read`: what `read_state` says of the new base.
        """
        if self._coverage is None:  # what this fold begins with is unknown, so nobody can be led past it
            self._lately.clear()
        else:
            out = set(rejected)
            updates = [update for place, update in enumerate(self._updates[:count]) if place not in out]
            self._lately.append(_Fold(self._base_vector, self._base_remainder, updates))
        self._base = base
        del self._updates[:count]
        self._updates_bytes = sum(len(update) for update in self._updates)
        self._has_inexact = any(len(update) > EXACT_BYTES_MAX for update in self._updates)
        self._forget()
        self._coverage = self._difference = None
        if read is not None:
            self.know(read)

    def _forget(self) -> None:
        """Keep of what was folded lately no more than may be."""
        bytes_max = max(LATELY_BYTES_MAX, len(self._base) // 4)
        size_bytes = 0
        for place in reversed(range(len(self._lately))):
            size_bytes += sum(map(len, self._lately[place].updates))
            if size_bytes > bytes_max or len(self._lately) - place > LATELY_MAX:
                del self._lately[: place + 1]
                return

    # What takes long, in pieces or elsewhere

    @property
    def is_unread(self) -> bool:
        """Whether the base should be read elsewhere, with `read_state`, and `know` be told."""
        return self._coverage is None and len(self._base) > READ_HERE_BYTES_MAX

    def know(self, read: StateRead) -> Coverage:
        """Take what `read_state` says of the base, and return what is covered by it."""
        self._coverage = Coverage.of_state(read)
        self._base_vector = parse_state_vector(read.vector)
        self._base_remainder = read.remainder
        self._covered = 0
        return self._coverage

    @property
    def uncovered(self) -> int:
        """How many updates were not read yet."""
        return len(self._updates) - (self._covered if self._coverage is not None else 0)

    def cover_some(self) -> None:
        """Read the next of the updates: about 5 ms of work, more if one is large. The base too, where it is unread."""
        coverage = self._known()
        begin, size_bytes = self._covered, 0
        while self._covered < len(self._updates):
            update = self._updates[self._covered]
            size_bytes += len(update)
            if self._covered > begin and (self._covered - begin >= COVER_UPDATES_MAX or size_bytes > COVER_BYTES_MAX):
                break
            with suppress(ValueError):  # not covered, then: that costs bytes, never an edit
                coverage.add(self._ranges(update))
            self._covered += 1

    def to_differ(self, state_vector: bytes) -> bytes | None:
        """Return the base if its difference to this vector should be computed elsewhere, and told to `differs`."""
        if len(self._base) <= READ_HERE_BYTES_MAX or self._base_lacking(state_vector) is not None:
            return None
        return self._base

    def differs(self, base: bytes, state_vector: bytes, missing: bytes) -> None:
        """Take what whoever has this vector lacks of a base; the last one is remembered, while the base stands."""
        if base is self._base:
            self._difference = state_vector, missing

    # What a client lacks

    @property
    def updates(self) -> Sequence[bytes]:
        """What came after the base."""
        return self._updates

    def lacking(self, state_vector: bytes) -> list[bytes]:
        """Return, as updates to apply in turn, whatever a client with this (validated) vector may lack (G2)."""
        return [*self.lacking_of_base(state_vector), *self._updates]

    def lacking_of_base(self, state_vector: bytes) -> list[bytes]:
        """Return what a client with this vector may lack but for `updates`, which it gets in any case.

        A client that has the base, or had it when it left, gets only the base's deletions and what came after: the cost
        is that of what it missed, not of the board.
        """
        missing = self._base_lacking(state_vector)
        return [difference(self._base, state_vector)] if missing is None else missing

    def _base_lacking(self, state_vector: bytes) -> list[bytes] | None:
        """Return what a client lacks of the base, None if that has to be cut out of it."""
        if state_vector == EMPTY_STATE_VECTOR:
            return [self._base]
        self._known()
        has = parse_state_vector(state_vector)
        if _reaches(has, self._base_vector):
            return [self._base_remainder]
        for place in reversed(range(len(self._lately))):
            if _reaches(has, self._lately[place].vector):
                # Deletions stay once they are made: the last remainder has those of all before.
                missed = self._lately[place:]
                pending = [fold.remainder for fold in missed if fold.remainder[0]]
                return [*pending, *(update for fold in missed for update in fold.updates), self._base_remainder]
        if self._difference is not None and self._difference[0] == state_vector:
            return [self._difference[1]]
        return None

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
        coverage = self._known()
        while self._covered < len(self._updates):
            self.cover_some()
        return coverage

    def _known(self) -> Coverage:
        """Return what is covered by the base, and by what was read of the updates."""
        return self.know(read_state(self._base)) if self._coverage is None else self._coverage

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


def _reaches(has: dict[int, int], vector: dict[int, int]) -> bool:
    return all(has.get(client, 0) >= clock for client, clock in vector.items())
