"""Hypothesis strategies for items as agents may write them, and for maps as nobody should."""

import math
from typing import Any, get_args

from hypothesis import strategies as st

from bridge.items import COORDINATE_MAX, EXTENT_MAX, EXTENT_MIN, ITEM_TYPES, Align, Dash, Fill, Font, GeoName, Size
from bridge.palette import COLORS

CHARACTERS = st.characters(exclude_categories=("Cs",))
TEXT = st.text(CHARACTERS, max_size=40) | st.text("a \n\r\t\x00", max_size=12) | st.just("long " * 100)
LINE = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
COORDINATE = st.integers(-COORDINATE_MAX, COORDINATE_MAX) | st.floats(-COORDINATE_MAX, COORDINATE_MAX)
EXTENT = st.integers(EXTENT_MIN, EXTENT_MAX) | st.floats(EXTENT_MIN, EXTENT_MAX)
URL = st.sampled_from([
    "https://example.org/a.png", "https://example.org:8443/a b.gif".replace(" ", "%20"), "/assets/a.jpg", "./b.webp",
    "data:image/png;base64,iVBORw0KGgo=", "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg'/>",
    "HTTPS://EXAMPLE.org/?q=1#f",
])  # fmt: skip
EXTRA_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | LINE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LINE.filter(lambda key: key != "__proto__"), inner),
    max_leaves=5,
)  # fmt: skip
EXTRAS = st.dictionaries(st.sampled_from(["note", "source", "tags"]), EXTRA_JSON, max_size=2)
HEX = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}") | st.sampled_from(["#000", "#FFF", "#ffcc00"])


def _optional(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


STYLE = _optional(
    {},
    color=st.sampled_from(COLORS) | HEX,
    fill=st.sampled_from(get_args(Fill)),
    dash=st.sampled_from(get_args(Dash)),
    font=st.sampled_from(get_args(Font)),
    size=st.sampled_from(get_args(Size)),
    align=st.sampled_from(get_args(Align)),
    opacity=st.floats(0, 1) | st.sampled_from([0, 1]),
)
CONTENT = {
    "sticky": _optional({"text": TEXT}),
    "text": _optional({"text": TEXT}),
    "shape": _optional({}, text=TEXT, shape=st.sampled_from(get_args(GeoName))),
    "frame": _optional({"title": TEXT}) | _optional({"text": TEXT}),
    "image": _optional({"url": URL}, alt=TEXT),
    "document": _optional({"text": TEXT}, title=LINE),
}


def with_extras(content: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Add fields of the caller's own."""
    return st.builds(lambda known, extras: {**extras, **known}, content, EXTRAS)


def items(types: tuple[str, ...] = ITEM_TYPES) -> st.SearchStrategy[dict[str, Any]]:
    """Items as JSON values, valid ones only."""
    return st.sampled_from(types).flatmap(
        lambda kind: _optional(
            {"type": st.just(kind), "x": COORDINATE, "y": COORDINATE, "content": with_extras(CONTENT[kind])},
            width=EXTENT,
            height=EXTENT,
            style=STYLE,
            created_by=LINE.filter(bool),
        )
    )


def patches(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Valid patches of an item of this type."""
    content = _optional({}, alt=TEXT) if kind == "image" else CONTENT[kind]
    return _optional(
        {},
        x=COORDINATE,
        y=COORDINATE,
        width=EXTENT | st.none(),
        height=EXTENT | st.none(),
        style=STYLE | st.none() | st.just({"color": None, "size": None}),
        content=content,
    )


HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | LINE | st.binary(max_size=3)
    | st.sampled_from(["shape:a", "shape:b", "shape:c", "page:page", "asset:a", "note", "text", "geo", "frame", "image",
                       "doc", "paragraph", "sticky", "document", "#ff0000", "arrow", math.inf, 1e308, -1e308, 10**400]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["type", "content", "text", "richText", "w", "h", "scale", "growY", "color", "title", "url",
                         "asset_id", "assetId", "name", "style", "dockerclaw_type", "shape", "marks"]) | LINE,
        inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
EXTREME = st.sampled_from([1e308, -1e308, 5e-324, math.inf, math.nan, 2**63, 10**400, -1, 0, True])
_KEYS = st.sampled_from(["shape:a", "shape:b", "shape:c", "page:page", "asset:a", "binding:a", "document:document"])


@st.composite
def hostile_maps(draw: st.DrawFn) -> dict[str, Any]:
    """Maps whose records are nearly right, so that every reader goes deep before it meets what is wrong."""
    records: dict[str, Any] = {}
    for key in draw(st.lists(_KEYS, unique=True, max_size=6)):
        record = {
            "id": key,
            "typeName": key.partition(":")[0],
            "type": draw(st.sampled_from(["note", "text", "geo", "frame", "image", "arrow", "group"])),
            "x": draw(COORDINATE),
            "y": draw(COORDINATE),
            "parentId": draw(_KEYS),
            "props": {},
            "meta": {},
        }
        for name in draw(st.lists(st.sampled_from([*record, "rotation", "index", "opacity", "fromId", "toId"]))):
            record[name] = draw(HOSTILE | EXTREME)
        for part in ("props", "meta"):
            if isinstance(record[part], dict):
                record[part] |= draw(st.dictionaries(st.sampled_from([
                    "richText", "w", "h", "scale", "growY", "color", "name", "assetId", "src", "geo", "autoSize",
                    "content", "style", "dockerclaw_type", "dockerclaw_id", "created_by",
                ]), HOSTILE | EXTREME, max_size=4))  # fmt: skip
        records[key] = draw(st.just(record) | HOSTILE)
    return records
