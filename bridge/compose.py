"""Items, written as the canvas's records: making, changing and deleting (pure).

Each function gets the board's records as they stand and returns what to set (a record) or to delete (None). Every
record passes the validators of tldraw 3.15.6, where each property is required and an unknown one is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bridge.asset_records import Asset, find_asset, make_asset, missing_asset, own_assets, source_props
from bridge.decompose import NOTE_SIDE, decompose
from bridge.errors import ItemExists, ItemNotFound
from bridge.facets import OTHER, RECORD_TYPES, Facets, content_meant, content_props, style_meant, style_props
from bridge.geometry import Point, local_point
from bridge.items import Item, content_of, patched, style_of
from bridge.jsonvalue import tidy
from bridge.placing import RandomBits, index_above, page_for_new
from bridge.shapes import Record, Records, asset_key, each, find_record, part, positive, shape_key

Changes = dict[str, Record | None]
"""Record key -> its new value, or None to delete it."""

KEPT_CHARS_MAX = 256
"""Longer texts and addresses are not kept in `meta` as well: the record says them, and each drag writes it whole."""
AUTO_WIDTH = 8
"""What the canvas gives a text that sizes itself before it has measured it."""
PICTURE_SIDE_MAX = 1000
"""A picture that is not told its size has its own, but no longer side than this: a camera's would fill the screen."""
_DEFAULT_SIZES: dict[str, tuple[float, float]] = {"geo": (100, 100), "frame": (320, 180), "image": (320, 240)}

_LABEL_PROPS: Record = {"labelColor": "black", "verticalAlign": "middle", "url": ""}
_UNSPOKEN_PROPS: dict[str, Record] = {
    "note": _LABEL_PROPS,
    "text": {"scale": 1},
    "geo": {**_LABEL_PROPS, "scale": 1},
    "frame": {},
    "image": {"playing": True, "url": "", "crop": None, "flipX": False, "flipY": False},
}
"""The properties that no item speaks of."""
_MEASURED_PROPS: dict[str, Record] = {"note": {"growY": 0, "fontSizeAdjustment": 0}, "geo": {"growY": 0}}
"""What the canvas measures; it does so anew wherever it finds these."""
_LAID_OUT_PROPS = frozenset({"richText", "font", "size", "geo", "w", "h"})
"""What the measured properties depend on."""


def create(
    records: Records, item: Item, item_id: str, random_bits: RandomBits, uploaded: Asset | None = None
) -> dict[str, Record]:
    """Return the records of a new item on top of the first page, with that page if the board has none yet.

    Raises ItemExists, and UnknownAsset for an image of an asset that the board has no record of: then it may be made
    of the `uploaded` one.
    """
    if shape_key(item_id) in records:
        raise ItemExists(item_id)
    page_id, missing = page_for_new(records)
    index = index_above(records, page_id, random_bits)
    if uploaded is not None:
        missing |= missing_asset(records, item_id, uploaded)
    return missing | compose({**records, **missing}, item, item_id, index=index, parent_id=page_id)


def compose(records: Records, item: Item, item_id: str, *, index: str, parent_id: str) -> dict[str, Record]:
    """Return the records of a new item: its shape, and an image's asset unless the board has it."""
    kind, content, style = item.type, content_of(item), style_of(item)
    record_type = RECORD_TYPES[kind]
    facets, looks = content_meant(kind, content), style_meant(kind, style or {})
    sizes = {"width": item.width, "height": item.height}
    props = {
        **_UNSPOKEN_PROPS[record_type],
        **_MEASURED_PROPS.get(record_type, {}),
        **style_props(record_type, looks),
        **content_props(kind, facets, facets),
        **_size_props(record_type, sizes, 1, _default_size(records, record_type, facets)),
    }
    if kind == "document":
        props["verticalAlign"] = "start"
    assets: dict[str, Record] = {}
    if kind == "image":
        props["assetId"], assets = _asset_for(records, item_id, facets, (props["w"], props["h"]))
    meta = {"dockerclaw_id": item_id, "dockerclaw_type": kind, "content": _kept(content, facets)}
    meta |= {} if style is None else {"style": style}
    meta |= {} if item.created_by is None else {"created_by": item.created_by}
    shape = {
        "id": shape_key(item_id),
        "typeName": "shape",
        "type": record_type,
        "x": tidy(item.x),
        "y": tidy(item.y),
        "rotation": 0,
        "index": index,
        "parentId": parent_id,
        "isLocked": False,
        "opacity": looks["opacity"],
        "props": props,
        "meta": meta,
    }
    return {shape["id"]: shape, **assets}


def apply_patch(records: Records, item_id: str, patch: Any, uploaded: Asset | None = None) -> Changes:
    """Return what an RFC 7396 merge patch of an item changes: nothing of a record but what the patch means to change.

    Raises ItemNotFound, InvalidItem; UnknownAsset and `uploaded`: see `create`.
    """
    missing = {} if uploaded is None else missing_asset(records, item_id, uploaded)
    records = {**records, **missing}
    seen = decompose(records, item_id)
    wanted = patched(seen, patch)
    shape: Record = records[shape_key(item_id)]
    changed = dict(shape)
    if (wanted["x"], wanted["y"]) != (seen["x"], seen["y"]):
        local = local_point(records, shape, Point(wanted["x"], wanted["y"]))
        changed |= {"x": tidy(local.x), "y": tidy(local.y)}
    assets: Changes = {}
    if seen["type"] != OTHER:
        props, assets = _patched_props(records, shape, seen, wanted)
        looks = _differing(style_meant, "style", seen, wanted)
        changed |= {name: looks[name] for name in ("opacity",) if name in looks}
        changed |= {"props": part(shape, "props") | props} if props else {}
        meta = _patched_meta(seen, wanted)
        changed |= {"meta": part(shape, "meta") | meta} if meta else {}
    return missing | ({shape["id"]: changed} if changed != shape else {}) | assets


def delete(records: Records, item_id: str) -> set[str]:
    """Return the keys to delete with an item: what it holds, bindings to that, assets that agents brought for it alone.

    Also deletes what is too broken to be read. Raises ItemNotFound if nothing stands there.
    """
    key = shape_key(item_id)
    if key not in records:
        raise ItemNotFound(item_id)
    gone = _with_descendants(records, key)
    bindings = {b["id"] for b in each(records, "binding") if {_text(b.get("fromId")), _text(b.get("toId"))} & gone}
    return gone | bindings | own_assets(records, gone)


def _patched_props(
    records: Records, shape: Record, seen: Mapping[str, Any], wanted: Mapping[str, Any]
) -> tuple[Record, Changes]:
    """Return the props that a patch changes, and the assets."""
    kind, record_type = seen["type"], shape["type"]
    facets = content_meant(kind, wanted["content"])
    said = _differing(content_meant, "content", seen, wanted)
    sizes = {name: wanted.get(name) for name in ("width", "height") if wanted.get(name) != seen.get(name)}
    scale = positive(part(shape, "props").get("scale"), 1)
    props = {
        **style_props(record_type, _differing(style_meant, "style", seen, wanted)),
        **content_props(kind, facets, said),
        **_size_props(record_type, sizes, scale, _default_size(records, record_type, facets)),
    }
    if props.keys() & _LAID_OUT_PROPS:
        props |= _MEASURED_PROPS.get(record_type, {})
    if said.keys() & {"url", "asset_id"}:
        source, assets = _patched_source(records, shape, facets, had_url="url" in seen["content"])
        return props | source, assets
    return props, {}


def _patched_source(records: Records, shape: Record, facets: Facets, *, had_url: bool) -> tuple[Record, Changes]:
    """Return the props and assets that show another picture, whole; one asset may be shown by several shapes.

    An asset that was made of an address takes another; one that was named may be named again, and stays what it is.
    """
    old = own_assets(records, {shape["id"]})
    item_id, props = shape["id"].removeprefix("shape:"), part(shape, "props")
    key = _text(props.get("assetId"))
    if "url" in facets and had_url and key in old:
        asset = records[key]
        return {"crop": None}, {key: asset | {"props": part(asset, "props") | source_props(facets["url"])}}
    size = positive(props.get("w"), 1), positive(props.get("h"), 1)
    key, assets = _asset_for(records, item_id, facets, size)
    return {"crop": None, "assetId": key}, {**assets, **dict.fromkeys(old - {key})}


def _patched_meta(seen: Mapping[str, Any], wanted: Mapping[str, Any]) -> Record:
    """Return the content and the style to keep in `meta`, where a patch changes them."""
    changed: Record = {}
    if wanted["content"] != seen["content"]:
        changed["content"] = _kept(wanted["content"], content_meant(seen["type"], wanted["content"]))
    if wanted.get("style") != seen.get("style"):
        changed["style"] = wanted.get("style")  # None: it has none, whatever the record shows by default
    return changed


def _differing(
    meant: Callable[[str, Mapping[str, Any]], Facets], name: str, seen: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Facets:
    """Return the facets of the content or the style that a patch changes, with their new value, None if gone."""
    old, new = (meant(seen["type"], side.get(name) or {}) for side in (seen, wanted))
    return {facet: new.get(facet) for facet in {**old, **new} if old.get(facet) != new.get(facet)}


def _asset_for(
    records: Records, item_id: str, facets: Facets, size: tuple[float, float]
) -> tuple[str, dict[str, Record]]:
    """Return the key of an image's asset, and its record if it has to be made."""
    if "asset_id" in facets:
        return find_asset(records, facets["asset_id"])["id"], {}
    asset = make_asset(records, item_id, facets["url"], size)
    return asset["id"], {asset["id"]: asset}


def _default_size(records: Records, record_type: str, facets: Facets) -> tuple[float, float]:
    """Return the width and height of what is not told its own: a picture's, if the board knows the picture."""
    width, height = _DEFAULT_SIZES.get(record_type, (NOTE_SIDE, NOTE_SIDE))
    asset = find_record(records, asset_key(facets.get("asset_id", "")), "asset")
    props = {} if asset is None else part(asset, "props")
    width, height = positive(props.get("w"), width), positive(props.get("h"), height)
    scale = min(1, PICTURE_SIDE_MAX / max(width, height))
    return max(width * scale, 1), max(height * scale, 1)


def _size_props(
    record_type: str, sizes: Mapping[str, float | None], scale: float, default: tuple[float, float]
) -> Record:
    """Return the props for those of `width` and `height` that are in `sizes`; None means the default."""
    width = sizes.get("width")
    if record_type == "note":
        return {"scale": (width or NOTE_SIDE) / NOTE_SIDE} if "width" in sizes else {}
    if record_type == "text":
        auto = {"autoSize": width is None, "w": AUTO_WIDTH if width is None else tidy(width / scale)}
        return auto if "width" in sizes else {}
    names = (("width", "w", default[0]), ("height", "h", default[1]))
    return {prop: tidy(sizes[name] or usual) for name, prop, usual in names if name in sizes}


def _kept(content: Mapping[str, Any], facets: Facets) -> dict[str, Any]:
    """Return the content to keep in `meta`: as given, but for what is long and stands in the record all the same."""
    return {
        name: value
        for name, value in content.items()
        if not (isinstance(value, str) and len(value) > KEPT_CHARS_MAX and facets.get(name) == value)
    }


def _with_descendants(records: Records, key: str) -> set[str]:
    """Return a shape with all that it holds: deleting a frame deletes what is in it, as in the canvas."""
    held: dict[str, list[str]] = {}
    for shape in each(records, "shape"):
        held.setdefault(_text(shape.get("parentId")), []).append(shape["id"])
    gone: set[str] = set()
    waiting = [key]
    while waiting:
        one = waiting.pop()
        if one not in gone:
            gone.add(one)
            waiting += held.get(one, [])
    return gone


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
