"""A board's records, read as items: what people moved, typed and recoloured is what agents see (pure)."""

from collections.abc import Mapping
from typing import Any

from bridge.errors import ItemNotFound
from bridge.facets import OTHER, Facets, content_meant, content_shown, item_type, style_meant, style_shown
from bridge.geometry import page_point, rounded
from bridge.items import CREATED_BY_CHARS_MAX
from bridge.jsonvalue import number, readable
from bridge.shapes import Record, Records, find_shape, part, positive, shape_key

NOTE_SIDE = 200
"""A note's width and height at scale 1; text that needs more lets it grow downwards."""

_ALWAYS_SHOWN = {"sticky": "text", "text": "text", "frame": "title", "document": "text"}


def decompose(records: Records, item_id: str) -> dict[str, Any]:
    """Return one item as JSON values, in page coordinates; raise ItemNotFound if there is no readable shape.

    A text without a width, and a text's height, are left out: only the canvas can measure them.
    """
    shape = find_shape(records, shape_key(item_id))
    item = None if shape is None else read_item(records, shape)
    if item is None:
        raise ItemNotFound(item_id)
    return item


def list_items(records: Records) -> list[dict[str, Any]]:
    """Return every readable shape of every page as an item, in the order of their ids."""
    shapes = (find_shape(records, key) for key in sorted(key for key in records if isinstance(key, str)))
    items = (read_item(records, shape) for shape in shapes if shape is not None)
    return [item for item in items if item is not None]


def read_item(records: Records, shape: Record) -> dict[str, Any] | None:
    """Return a shape as an item; None if its place is beyond all numbers."""
    point = page_point(records, shape)
    if point is None:
        return None
    kind, meta = item_type(shape), part(shape, "meta")
    item_id = shape["id"].removeprefix("shape:")
    item = {"id": item_id, "type": kind, "x": point.x, "y": point.y, **read_size(shape)}
    item["content"] = _content(kind, shape, records)
    style = _style(kind, shape)
    if style is not None:
        item["style"] = style
    # A copy that a person made carries the meta of its original, but its author is not that agent.
    if meta.get("dockerclaw_id") == item_id and isinstance(meta.get("created_by"), str):
        item["created_by"] = meta["created_by"][:CREATED_BY_CHARS_MAX]
    return {name: readable(value) for name, value in item.items()}


def read_size(shape: Record) -> dict[str, float]:
    """Return a shape's `width` and `height` as far as its record tells them."""
    props = part(shape, "props")
    width, height = number(props.get("w")), number(props.get("h"))
    grow, scale = positive(props.get("growY"), 0), positive(props.get("scale"), 1)
    match shape["type"]:
        case "note":
            width, height = NOTE_SIDE * scale, (NOTE_SIDE + grow) * scale
        case "text":
            width, height = None if props.get("autoSize") is not False or width is None else width * scale, None
        case "geo" if height is not None:
            height += grow
    sizes = {"width": width, "height": height}
    return {name: rounded(found) for name, size in sizes.items() if (found := number(size)) is not None}


def _content(kind: str, shape: Record, records: Records) -> dict[str, Any]:
    given = _given(kind, shape, "content")
    shown = content_shown(kind, shape, records, given or {})
    if given is None:
        return shown
    content = _put_right(given, content_meant(kind, given), shown)
    if kind == "frame" and given.get("title") is None and content.get("title") is not None:
        content.pop("text", None)  # the title's other name, which the new title makes stale
    always = _ALWAYS_SHOWN.get(kind)
    if always is not None and always not in content and (kind != "frame" or "text" not in content):
        content[always] = shown[always]
    return content


def _style(kind: str, shape: Record) -> dict[str, Any] | None:
    given, shown = _given(kind, shape, "style"), style_shown(shape)
    if given is None:
        return shown
    style = _put_right(given, style_meant(kind, given), shown)
    return style if style or part(shape, "meta").get("style") is not None else None


def _given(kind: str, shape: Record, name: str) -> dict[str, Any] | None:
    """Return what an agent gave, nothing if it took that back; None if the shape is a person's."""
    meta = part(shape, "meta")
    is_taken_back = name == "style" and meta.get(name, "") is None
    if kind != OTHER and (
        is_taken_back or isinstance(meta.get(name), dict) or isinstance(meta.get("dockerclaw_type"), str)
    ):
        return part(meta, name)
    return None


def _put_right(given: Mapping[str, Any], meant: Facets, shown: Facets) -> dict[str, Any]:
    """Return what was given, but for what the record shows otherwise."""
    kept = {name: value for name, value in given.items() if name not in meant or name in shown}
    changed = {name: value for name, value in shown.items() if meant.get(name) != value}
    return kept | changed
