"""What the bridge makes of records that no canvas writes: nothing, and in no time (G6)."""

from typing import Any

import pytest
from pycrdt import Doc, Map

from bridge.replica import _record


def records_of(update: str) -> "Map[Any]":
    doc: Doc[Any] = Doc()
    records = doc.get("tldraw", type=Map)
    doc.apply_update(bytes.fromhex(update))
    return records


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("key", "update"),
    [
        # yrs reads it without end, and nothing else runs in the process meanwhile.
        ("shape:1", "01020700270106746c647261770773686170653a3100040007000b61f09f988062f09f98806300"),
        ("shape:5", "0101d092a7a60900260106746c647261770773686170653a35095f5f70726f746f5f5f046e756c6c00"),
        ("k", "01020700280106746c64726177016b017e8607000162013100"),
    ],
    ids=["a list with a text of long characters", "a format", "a format behind a value"],
)
def test_G6_what_is_no_plain_value_is_no_record(key: str, update: str) -> None:
    assert _record(records_of(update), key) is None
