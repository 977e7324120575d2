"""What an agent meant by a change, kept a moment, so that a person's simultaneous edit does not undo it (pure).

A record is one value in the document: two writers who set it at once overwrite each other whole, though one moved the
shape and the other changed its text. Yjs keeps the person's record (`replica.CLIENT_ID_BITS`); an intent then notices
that what it wrote has fallen back to what stood there before, and puts just that on top of the person's record. Not
where that person had seen the agent's change: who sets a property back means it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

INTENT_SECONDS = 3.0
"""An edit made without sight of the agent's arrives within this time; later ones mean what they say."""
INTENTS_PER_BOARD_MAX = 1000

Record = dict[str, Any]
Path = tuple[str, ...]
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Intent:
    """One record's change: for each property that was written, its value before and after."""

    key: str
    before: dict[Path, Any]
    after: dict[Path, Any]
    item: int
    """The clock of the bridge's own item that holds the record as it was written last."""
    until: float
    """When it is forgotten, in seconds on a steady clock."""


def intent(key: str, before: Mapping[str, Any], after: Mapping[str, Any], item: int, now: float) -> Intent:
    """Return what the change from `before` to `after`, written as this item, meant."""
    old, new = _leaves(before), _leaves(after)
    changed = [path for path in old.keys() | new.keys() if old.get(path, _MISSING) != new.get(path, _MISSING)]
    return Intent(
        key,
        {path: old.get(path, _MISSING) for path in changed},
        {path: new.get(path, _MISSING) for path in changed},
        item,
        now + INTENT_SECONDS,
    )


class Intents:
    """The recent intents on one board."""

    def __init__(self) -> None:
        """Begin with none."""
        self._recent: list[Intent] = []

    @property
    def are_none(self) -> bool:
        """Whether there is nothing to watch over."""
        return not self._recent

    def add(self, meant: Intent) -> None:
        """Watch over a change that was just made; the oldest are forgotten beyond INTENTS_PER_BOARD_MAX."""
        self._recent = [*self._recent[-INTENTS_PER_BOARD_MAX + 1 :], meant]

    def forget(self, key: str) -> None:
        """Watch no more over a record that an agent takes away or makes anew: nothing meant before is meant for it."""
        self._recent = [meant for meant in self._recent if meant.key != key]

    def written(self, items: Mapping[str, int]) -> None:
        """Note that these records were written again, as these items."""
        self._recent = [replace(meant, item=items.get(meant.key, meant.item)) for meant in self._recent]

    def answered(self, items: Container[int]) -> None:
        """Forget what others had seen when they wrote over it: these items are their records' left neighbours."""
        seen: dict[str, int] = {}
        for meant in self._recent:
            if meant.item in items:
                seen[meant.key] = max(meant.item, seen.get(meant.key, -1))
        self._recent = [meant for meant in self._recent if meant.item > seen.get(meant.key, -1)]

    def undone(self, records: Mapping[str, Any], now: float) -> dict[str, Record]:
        """Return the records that have to be written again, with what was meant put on top of what stands there.

        A record that is gone stays gone: made again, it is another. A property set to a third value stays so.
        """
        self._recent = [meant for meant in self._recent if meant.until > now and meant.key in records]
        again: dict[str, Record] = {}
        for meant in self._recent:
            record = again.get(meant.key, records.get(meant.key))
            if not isinstance(record, dict):
                continue
            current = _leaves(record)
            lost = [p for p in meant.after if current.get(p, _MISSING) == meant.before[p] != meant.after[p]]
            if lost:
                again[meant.key] = _with(record, {path: meant.after[path] for path in lost})
        # An agent that took back its own change meant what stands there: the steps lead back to it.
        return {key: record for key, record in again.items() if record != records[key]}


def _leaves(value: Mapping[str, Any], above: Path = ()) -> dict[Path, Any]:
    """Return path -> value for everything that is not itself an object; lists and rich text count as one value."""
    leaves: dict[Path, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and inner and name != "richText" and len(above) < 2:
            leaves |= _leaves(inner, (*above, name))
        else:
            leaves[(*above, name)] = inner
    return leaves


def _with(record: Record, values: Mapping[Path, Any]) -> Record:
    """Return a copy of a record with these properties set, or removed where they are missing."""
    changed = dict(record)
    for path, value in values.items():
        inner = changed
        for name in path[:-1]:
            child = inner.get(name)
            inner[name] = inner = dict(child) if isinstance(child, dict) else {}
        if value is _MISSING:
            inner.pop(path[-1], None)
        else:
            inner[path[-1]] = value
    return changed
