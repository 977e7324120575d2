"""The changes that are sent: real Yjs updates, each with a number that is found in its raw bytes (pure)."""

import re

from pycrdt import Doc, Map, TransactionEvent

ROOT = "tldraw"
MARKER = re.compile(rb"#(\d{9})#")
"""A change's number on its board."""
MARKER_BYTES = 11


class Author:
    """One person who changes a board: a document, and the update of each change."""

    def __init__(self, client: int) -> None:
        """Begin with an empty board."""
        self.doc: Doc[Map[object]] = Doc(client_id=client)
        self.changes = 0
        """How many shapes were set so far; also the number of the last one."""
        self._records = self.doc.get(ROOT, type=Map)
        self._updates: list[bytes] = []
        self._observing = self.doc.observe(self._observe)

    def put(self, *shapes: int) -> bytes:
        """Set these shapes, new or not, to where they have never been; return the update of it all."""
        with self.doc.transaction():
            for shape in shapes:
                self.changes += 1
                self._records[f"shape:{shape:08d}"] = record(shape, self.changes)
        update = b"".join(self._updates)
        self._updates.clear()
        return update

    def _observe(self, event: TransactionEvent) -> None:
        self._updates.append(event.update)


def record(shape: int, change: int) -> dict[str, object]:
    """Return a sticky note as tldraw keeps it, about 400 bytes of JSON, marked with the change's number."""
    return {
        "id": f"shape:{shape:08d}",
        "typeName": "shape",
        "type": "note",
        "x": change * 11 % 5000 + 0.5,
        "y": change * 17 % 3000 + 0.25,
        "rotation": 0,
        "index": "a1V",
        "parentId": "page:page",
        "isLocked": False,
        "opacity": 1,
        "props": {
            "color": "yellow",
            "labelColor": "black",
            "size": "m",
            "font": "draw",
            "fontSizeAdjustment": 0,
            "align": "middle",
            "verticalAlign": "middle",
            "growY": 0,
            "url": "",
            "scale": 1,
            "text": "as it was left",
        },
        "meta": {"change": f"#{change:09d}#"},
    }


def last_marker(data: bytes) -> int:
    """Return the number of the last change in these bytes, 0 if there is none."""
    end = data.rfind(b"#")
    while end >= 0:  # a clock may end in this byte as well: 35, and 4,480 to 4,607
        found = MARKER.match(data, max(0, end - MARKER_BYTES + 1))
        if found:
            return int(found[1])
        end = data.rfind(b"#", 0, end)
    return 0


def records_in(updates: list[bytes]) -> dict[str, object]:
    """Return the records of the board that has these updates, by their ids."""
    doc: Doc[Map[object]] = Doc()
    records = doc.get(ROOT, type=Map)
    for update in updates:
        doc.apply_update(update)
    held = records.to_py()
    return held or {}
