"""The board's records as they stand, seen safely: anybody may have put anything in the map (pure)."""

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.jsonvalue import number

Record = dict[str, Any]
Records = Mapping[str, Any]
"""Record key (`shape:…`, `page:…`, `asset:…`) -> what stands there, as plain values."""


def shape_key(item_id: str) -> str:
    """Return the record key of an item."""
    return f"shape:{item_id}"


def asset_key(asset_id: str) -> str:
    """Return the record key of an asset."""
    return f"asset:{asset_id}"


def find_record(records: Records, key: Any, type_name: str) -> Record | None:
    """Return the record of this key if it is one of that kind and knows its own name."""
    record = records.get(key) if isinstance(key, str) else None
    if not isinstance(record, dict) or record.get("id") != key or record.get("typeName") != type_name:
        return None
    return record


def find_shape(records: Records, key: Any) -> Record | None:
    """Return the shape of this key; None for what the canvas could not show: no type, or no finite place."""
    record = find_record(records, key, "shape")
    if record is None or not isinstance(record.get("type"), str):
        return None
    return record if number(record.get("x")) is not None and number(record.get("y")) is not None else None


def each(records: Records, type_name: str) -> Iterator[Record]:
    """Iterate over the records of one kind."""
    for key in records:
        record = find_record(records, key, type_name)
        if record is not None:
            yield record


def part(record: Mapping[str, Any], name: str) -> Record:
    """Return a record's `props`, `meta` and the like; {} if it has none."""
    inner = record.get(name)
    return inner if isinstance(inner, dict) else {}


def positive(value: Any, otherwise: float) -> float:
    """Return a number above zero, else `otherwise`."""
    found = number(value)
    return found if found is not None and found > 0 else otherwise
