"""What the simulation knows and the system does not: who made what, what the log ever had, what a store has lost."""

from collections.abc import Iterable, Iterator, Sequence

from pycrdt import Doc, Map, get_state

from boardlog.entry import unpack
from boardlog.growing import Growing
from boardlog.links import Ranges
from boardlog.merge import Folded, parse_state_vector
from boardlog.stream import RawEntry
from boardlog.update import dissect
from tests.simulation.browser import RECORDS, Edit


class Ledger:
    """All edits of one run."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.losses = 0
        """How often a store has lost anything."""
        self._by_update: dict[bytes, Edit] = {}

    def add(self, edit: Edit) -> None:
        """Take an edit that was made; an agent's has no bytes that we know."""
        self.edits.append(edit)
        if edit.update:
            edit.ranges = dissect(edit.update)[0]
            self._by_update[edit.update] = edit

    def edit_of(self, update: bytes) -> Edit | None:
        """Return the edit that is exactly this update."""
        return self._by_update.get(update)

    def logged(self, payload: bytes) -> None:
        """Note what an entry that the log has just taken says: from now on it may be seen (G1)."""
        joint: list[bytes] = []
        for update in unpack(payload).updates:
            edit = self._by_update.get(update)
            if edit is None:
                joint.append(update)
            else:
                edit.is_in_log, edit.is_lost = True, False
        said = Content(joint)
        for edit in self.edits if joint else ():
            if said.has(edit):
                edit.is_in_log, edit.is_lost = True, False

    def lost(self, board: str, entries: Sequence[RawEntry], left: Iterable[bytes]) -> list[Edit]:
        """Note what is in no store any more, now that a store has lost these entries; return it."""
        self.losses += 1
        kept = Content(left)
        lost = [edit for edit in self.in_entries(board, entries) if not kept.has(edit)]
        for edit in lost:
            edit.is_lost = True
        return lost

    def in_entries(self, board: str, entries: Sequence[RawEntry]) -> list[Edit]:
        """Return the edits that entries of a board say."""
        said = Content(update for entry in entries for update in unpack(entry.payload).updates)
        return [edit for edit in self.edits if edit.board == board and said.has(edit)]


class Content:
    """What some updates say, by ranges: independent of what anybody could integrate of it."""

    def __init__(self, updates: Iterable[bytes]) -> None:
        updates = list(updates)
        self._keys = b"\0".join(updates)
        self._ranges = [dissect(update)[0] for update in updates]

    def has(self, edit: Edit) -> bool:
        """Whether an edit is among it."""
        return self.covers(edit.ranges) if edit.ranges else edit.key.encode() in self._keys

    def covers(self, wanted: Ranges) -> bool:
        """Whether all that an update speaks of is among it."""
        return _has(wanted.structs, [ranges.structs for ranges in self._ranges]) and _has(
            wanted.deletes, [ranges.deletes for ranges in self._ranges]
        )


def _has(wanted: dict[int, list[tuple[int, int]]], known: list[dict[int, list[tuple[int, int]]]]) -> bool:
    return all(
        any(
            known_begin <= begin and end <= known_end for one in known for known_begin, known_end in one.get(client, ())
        )
        for client, intervals in wanted.items()
        for begin, end in intervals
    )


def is_whole(base: bytes, state_vector: bytes, sent: Iterable[bytes]) -> bool:
    """Whether whoever had this vector has all of a state once it was sent that: what waits for others too."""
    has = parse_state_vector(state_vector)
    wanted, given = dissect(base)[0], [dissect(update)[0] for update in sent]
    structs = {(client, clock) for client, clock in _clocks(wanted.structs) if clock >= has.get(client, 0)}
    return structs <= {one for ranges in given for one in _clocks(ranges.structs)} and set(_clocks(wanted.deletes)) <= {
        one for ranges in given for one in _clocks(ranges.deletes)
    }


def _clocks(intervals: dict[int, list[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    return ((client, clock) for client, some in intervals.items() for begin, end in some for clock in range(begin, end))


def screen(state: bytes, updates: Sequence[bytes]) -> dict[str, object]:
    """Return the records that a browser shows that is given these: what waits for something lost is not among them."""
    doc: Doc[object] = Doc()
    records = doc.get(RECORDS, type=Map)
    growing = Growing(doc, Folded(state, get_state(state), []))
    for update in updates:
        growing.take(update)
    shown: dict[str, object] = records.to_py() or {}
    return shown
