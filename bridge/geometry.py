"""Page coordinates <-> a shape's own, which are relative to the frame or group that it is in; its page (pure)."""

from math import cos, isfinite, sin
from typing import Any, NamedTuple

from bridge.jsonvalue import number, tidy
from bridge.shapes import Record, Records, find_record, find_shape

ANCESTORS_MAX = 64
"""Frames and groups are followed this far up. A missing parent or a cycle ends the walk too: what was found counts."""
_DIGITS = 9
"""What a turn or a scale loses in the last digits is rounded away, so that a round trip changes nothing."""


class Point(NamedTuple):
    """A place, in page units, x to the right and y down."""

    x: float
    y: float


def page_point(records: Records, shape: Record) -> Point | None:
    """Return where a shape's origin is on its page; None if that is beyond all numbers."""
    point = Point(float(shape["x"]), float(shape["y"]))
    above = _ancestors(records, shape)
    for ancestor in above:
        point = _turned(point, _angle(ancestor))
        point = Point(point.x + ancestor["x"], point.y + ancestor["y"])
    return _rounded(point) if above else point


def page_key(records: Records, shape: Record) -> str | None:
    """Return the key of the page that a shape is on; None if it hangs in the air."""
    parent = [shape, *_ancestors(records, shape)][-1].get("parentId")
    return None if find_record(records, parent, "page") is None else parent


def local_point(records: Records, shape: Record, on_page: Point) -> Point:
    """Return the coordinates that put a shape's origin at this place of its page."""
    point = on_page
    above = _ancestors(records, shape)
    for ancestor in reversed(above):
        point = _turned(Point(point.x - ancestor["x"], point.y - ancestor["y"]), -_angle(ancestor))
    rounded = _rounded(point) if above else point
    return on_page if rounded is None else rounded


def rounded(value: float) -> float:
    """Return a computed length without what arithmetic added in the last digits."""
    return tidy(round(value, _DIGITS))


def _ancestors(records: Records, shape: Record) -> list[Record]:
    """Return the shapes that hold this one, the nearest first."""
    above: list[Record] = []
    seen = {shape["id"]}
    parent: Any = find_shape(records, shape.get("parentId"))
    while parent is not None and parent["id"] not in seen and len(above) < ANCESTORS_MAX:
        above.append(parent)
        seen.add(parent["id"])
        parent = find_shape(records, parent.get("parentId"))
    return above


def _angle(shape: Record) -> float:
    return number(shape.get("rotation")) or 0.0


def _turned(point: Point, angle: float) -> Point:
    if angle == 0:
        return point
    return Point(point.x * cos(angle) - point.y * sin(angle), point.x * sin(angle) + point.y * cos(angle))


def _rounded(point: Point) -> Point | None:
    return Point(rounded(point.x), rounded(point.y)) if isfinite(point.x) and isfinite(point.y) else None
