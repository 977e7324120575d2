"""What an item's content and style say, as the caller meant them and as a record shows them (pure).

A facet is one thing that can be said about an item: its text, its colour. `*_meant` reads facets from what a caller
gave, `*_shown` from the record, which a person may have changed since. Where the two agree the caller gets back just
what was given; where they do not, the record is right.
"""

from collections.abc import Collection, Mapping
from typing import Any

from bridge.jsonvalue import number, readable
from bridge.palette import HEX_COLOR, nearest_color
from bridge.richtext import clean_line, clean_text, plain_text, rich_text, split_title
from bridge.shapes import Record, Records, asset_key, find_record, part

Facets = dict[str, Any]

RECORD_TYPES = {
    "sticky": "note",
    "text": "text",
    "shape": "geo",
    "frame": "frame",
    "image": "image",
    "document": "note",
}
"""Item type -> the canvas's type of shape."""
OTHER = "other"
"""The item type of what only people make: arrows, drawings, groups and so on."""
URL_READ_CHARS_MAX = 64 * 1024
"""A picture that a person put into the document itself may have megabytes: beyond this an item names its asset."""
GEO_DEFAULT = "rectangle"

_STYLE_DEFAULTS: Facets = {
    "color": "black", "fill": "none", "dash": "draw", "font": "draw", "size": "m", "align": "middle", "opacity": 1,
}  # fmt: skip
_STARTS = ("text", "document")
"""The item types that are read from the left unless told otherwise."""
_LETTERING = {"color": "color", "font": "font", "size": "size"}
_STYLE_PROPS: dict[str, dict[str, str]] = {
    "note": _LETTERING | {"align": "align"},
    "text": _LETTERING | {"align": "textAlign"},
    "geo": _LETTERING | {"align": "align", "fill": "fill", "dash": "dash"},
    "frame": {"color": "color"},
    "image": {},
}
_ANY_STYLE_PROPS = {name: name for name in _STYLE_DEFAULTS if name != "opacity"}


def item_type(record: Record) -> str:
    """Return the type that fits a shape: the caller's own, as long as the record is still of that kind."""
    own = part(record, "meta").get("dockerclaw_type")
    if isinstance(own, str) and RECORD_TYPES.get(own) == record["type"]:
        return own
    return next((name for name, kind in RECORD_TYPES.items() if kind == record["type"]), OTHER)


def content_meant(kind: str, content: Mapping[str, Any]) -> Facets:
    """Return what a content of an item of this type says, with the defaults of what it leaves out."""
    text = clean_text(_string(content.get("text")))
    match kind:
        case "shape":
            return {"text": text, "shape": content.get("shape") or GEO_DEFAULT}
        case "frame":
            title = content.get("title")
            return {"title": clean_line(_string(content.get("text") if title is None else title))}
        case "image":
            source = {name: content[name] for name in ("url", "asset_id") if content.get(name) is not None}
            return {**source, "alt": clean_text(_string(content.get("alt")))}
        case "document":
            return {"title": clean_line(_string(content.get("title"))), "text": text}
    return {"text": text}


def content_shown(kind: str, record: Record, records: Records, given: Mapping[str, Any]) -> Facets:
    """Return what a record says; `given` decides whether a picture goes by its address or by its asset."""
    props = part(record, "props")
    match kind:
        case "shape":
            return {"text": plain_text(props.get("richText")), "shape": _string(props.get("geo")) or GEO_DEFAULT}
        case "frame":
            return {"title": _string(props.get("name"))}
        case "image":
            return {**_source_shown(props, records, given), "alt": _string(props.get("altText"))}
        case "document":
            title, text = split_title(props.get("richText"))
            return {"title": title, "text": text}
        case "sticky" | "text":
            return {"text": plain_text(props.get("richText"))}
    label = _string(props.get("text")) or plain_text(props.get("richText"))
    return {"type": record["type"]} | ({"text": label} if label else {})


def content_props(kind: str, facets: Facets, changed: Collection[str]) -> Record:
    """Return the props that show those of the facets that changed, all but an image's source, which takes an asset."""
    props: Record = {}
    if "shape" in changed:
        props["geo"] = facets["shape"]
    if "alt" in changed:
        props["altText"] = facets["alt"]
    if kind == "frame" and "title" in changed:
        props["name"] = facets["title"]
    elif "text" in changed or "title" in changed:
        props["richText"] = rich_text(facets["text"], facets.get("title", ""))
    return props


def style_meant(kind: str, style: Mapping[str, Any]) -> Facets:
    """Return what a style says about an item of this type, with the defaults of what it leaves out."""
    meant = {**_STYLE_DEFAULTS, **({"align": "start"} if kind in _STARTS else {}), **style}
    if isinstance(meant["color"], str) and HEX_COLOR.fullmatch(meant["color"]):
        meant["color"] = nearest_color(meant["color"], paper=RECORD_TYPES.get(kind) == "note")
    return {name: meant[name] for name in (*_STYLE_PROPS.get(RECORD_TYPES.get(kind, ""), ()), "opacity")}


def style_shown(record: Record) -> Facets:
    """Return what a record's props say about its style."""
    props = part(record, "props")
    names = _STYLE_PROPS.get(record["type"], _ANY_STYLE_PROPS)
    shown: Facets = {name: props[prop] for name, prop in names.items() if isinstance(props.get(prop), str)}
    opacity = number(record.get("opacity"))
    return shown if opacity is None else {**shown, "opacity": readable(opacity)}


def style_props(record_type: str, facets: Facets) -> Record:
    """Return the props that show these facets; opacity stands in the record itself."""
    return {prop: facets[name] for name, prop in _STYLE_PROPS[record_type].items() if name in facets}


def _source_shown(props: Record, records: Records, given: Mapping[str, Any]) -> Facets:
    key = _string(props.get("assetId"))
    asset = find_record(records, key, "asset")
    url = _string(part(asset or {}, "props").get("src"))
    by_name = given.get("asset_id") is not None and key == asset_key(given["asset_id"])
    if url and not by_name and len(url) <= URL_READ_CHARS_MAX:
        return {"url": url}
    return {"asset_id": key.removeprefix("asset:")} if key else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
