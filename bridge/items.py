"""Items as agents write them: the validated types, their limits, and errors that name the field (pure).

The rules stand in the table of items in ARCHITECTURE.md. Content may hold fields of the caller's own, which are kept
and given back; everything else is checked, so that a typing error is an error and not a default.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError, Url

from bridge.errors import InvalidItem
from bridge.jsonvalue import Loc, field_error, find_problems, merge_patch
from bridge.palette import COLORS, HEX_COLOR

COORDINATE_MAX = 1_000_000
"""x and y lie within this distance of the page's origin, in page units (CSS pixels at 100 %)."""
EXTENT_MIN = 1
EXTENT_MAX = 10_000
"""width and height, in page units."""
TEXT_CHARS_MAX = 10_000
"""Any one text of an item: text, title, alt."""
CONTENT_BYTES_MAX = 64 * 1024
"""Content and style together, as compact JSON in UTF-8."""
CONTENT_DEPTH_MAX = 16
"""Levels of objects and lists, the content itself being the first."""
CREATED_BY_CHARS_MAX = 200
URL_CHARS_MAX = 2_000
DATA_URL_CHARS_MAX = 48 * 1024
"""A picture inside the document costs every viewer at every join: beyond an icon, upload it and give its address."""
ERRORS_MAX = 20
"""As many errors are told at once."""

ItemType = Literal["sticky", "text", "shape", "frame", "image", "document"]
GeoName = Literal[
    "cloud", "rectangle", "ellipse", "triangle", "diamond", "pentagon", "hexagon", "octagon", "star", "rhombus",
    "rhombus-2", "oval", "trapezoid", "arrow-right", "arrow-left", "arrow-up", "arrow-down", "x-box", "check-box",
    "heart",
]  # fmt: skip
Fill = Literal["none", "semi", "solid", "pattern", "fill"]
Dash = Literal["draw", "solid", "dashed", "dotted"]
Font = Literal["draw", "sans", "serif", "mono"]
Size = Literal["s", "m", "l", "xl"]
Align = Literal["start", "middle", "end"]

RECORD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The id of an item or an asset."""
_RELATIVE_URL = re.compile(r"\.?/(?!/)[!-\[\]-~]*")
_DATA_URL = re.compile(r"data:image/[a-zA-Z0-9.+-]+[;,][ !-~]*", re.IGNORECASE)
_HTTPS_URL = re.compile(r"https://[!-\[\]-~]+", re.IGNORECASE)
_URL_RULE = "An image's address begins with https://, data:image/, / or ./ and holds no blanks or backslashes."


def _check_color(color: str) -> str:
    if color not in COLORS and not HEX_COLOR.fullmatch(color):
        raise PydanticCustomError("color", f"A colour is a hex value such as #ffcc00, or one of {', '.join(COLORS)}.")
    return color


def _check_url(url: str) -> str:
    """Let through what the canvas accepts and every browser takes as a picture on this origin or over https."""
    if _DATA_URL.fullmatch(url):
        if len(url) > DATA_URL_CHARS_MAX:
            raise PydanticCustomError("url", f"A data: address has at most {DATA_URL_CHARS_MAX} characters: upload it.")
        return url
    if len(url) > URL_CHARS_MAX:
        raise PydanticCustomError("url", f"An address has at most {URL_CHARS_MAX} characters.")
    if not _HTTPS_URL.fullmatch(url) and not _RELATIVE_URL.fullmatch(url):
        raise PydanticCustomError("url", _URL_RULE)
    if url[0] not in "./":
        try:
            Url(url)  # by the WHATWG's rules, as the canvas reads it
        except ValueError as error:
            raise PydanticCustomError("url", "No browser accepts this address: look at its host and port.") from error
    return url


Text = Annotated[str, Field(max_length=TEXT_CHARS_MAX)]
Color = Annotated[str, AfterValidator(_check_color)]
ImageUrl = Annotated[str, AfterValidator(_check_url)]
RecordName = Annotated[str, Field(pattern=f"^{RECORD_NAME.pattern}$")]
Coordinate = Annotated[float, Field(ge=-COORDINATE_MAX, le=COORDINATE_MAX, allow_inf_nan=False)]
Extent = Annotated[float, Field(ge=EXTENT_MIN, le=EXTENT_MAX, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Content(BaseModel):
    """What is known of a content is checked, the caller's own fields are kept."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", strict=True, frozen=True)


class Style(_Strict):
    """How an item looks. What its type has no use for is kept, and has no effect."""

    color: Color | None = None
    fill: Fill | None = None
    dash: Dash | None = None
    font: Font | None = None
    size: Size | None = None
    align: Align | None = None
    opacity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class TextContent(_Content):
    """A sticky's or a text's content."""

    text: Text


class ShapeContent(_Content):
    """A geometric shape's content: its label and its form."""

    text: Text | None = None
    shape: GeoName | None = None


class FrameContent(_Content):
    """A frame's content: its title, for which `text` is another name."""

    title: Text | None = None
    text: Text | None = None

    @model_validator(mode="after")
    def _has_title(self) -> Self:
        if self.title is None and self.text is None:
            raise PydanticCustomError("title", "A frame needs a title (it may be empty).")
        return self


class ImageContent(_Content):
    """An image's content: where the picture is, or which asset of the board it is."""

    url: ImageUrl | None = None
    asset_id: RecordName | None = None
    alt: Text | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.url is None) == (self.asset_id is None):
            raise PydanticCustomError("source", "Give either url or asset_id (in a PATCH, set the other one to null).")
        return self


class DocumentContent(_Content):
    """A document's content."""

    title: Text | None = None
    text: Text


class _Item(_Strict):
    id: RecordName | None = None
    x: Coordinate
    y: Coordinate
    width: Extent | None = None
    height: Extent | None = None
    style: Style | None = None
    created_by: Annotated[str, Field(min_length=1, max_length=CREATED_BY_CHARS_MAX)] | None = None


class Sticky(_Item):
    """A note. Its width sets its scale (200 is 1); a height cannot be honoured."""

    type: Literal["sticky"]
    content: TextContent


class TextItem(_Item):
    """Bare text. A width wraps it; without one it sizes itself. A height cannot be honoured."""

    type: Literal["text"]
    content: TextContent


class Shape(_Item):
    """A geometric shape with a label."""

    type: Literal["shape"]
    content: ShapeContent


class Frame(_Item):
    """A frame."""

    type: Literal["frame"]
    content: FrameContent


class Image(_Item):
    """A picture."""

    type: Literal["image"]
    content: ImageContent


class Document(_Item):
    """A note with a title in bold above its text. Sizes as a sticky's."""

    type: Literal["document"]
    content: DocumentContent


Item = Sticky | TextItem | Shape | Frame | Image | Document
ITEM: TypeAdapter[Item] = TypeAdapter(Annotated[Item, Field(discriminator="type")])
"""Validates items; `ITEM.json_schema()` describes them for OpenAPI. Use `parse_item`, which also bounds them."""
ITEM_TYPES: tuple[ItemType, ...] = get_args(ItemType)


def parse_item(data: Any) -> Item:
    """Return `data`, a parsed JSON body, as an item; raise InvalidItem naming every field that is wrong."""
    problems = list(find_problems(data, CONTENT_DEPTH_MAX + 1))
    if problems:
        raise _invalid(problems)
    item, problems = _validate(data)
    if item is None or problems:
        raise _invalid(problems)
    return item


def content_of(item: Item) -> dict[str, Any]:
    """Return the content as it was given."""
    return item.content.model_dump(exclude_unset=True)


def style_of(item: Item) -> dict[str, Any] | None:
    """Return the style as it was given, without nulls; None if none was given."""
    return None if item.style is None else item.style.model_dump(exclude_none=True)


def patched(seen: Mapping[str, Any], patch: Any) -> dict[str, Any]:
    """Return an item as its reader sees it with an RFC 7396 merge patch applied.

    Raises InvalidItem where the patch sets something wrong. What it leaves alone may be wrong: people's shapes know
    no limits of ours, and an agent may recolour a text that is too long for it to write.
    """
    problems = _validate_patch(seen, patch)
    if problems:
        raise _invalid(problems)
    merged: dict[str, Any] = merge_patch(seen, patch)
    if seen["type"] == "frame" and isinstance(patch.get("content"), dict):
        _keep_one_name(merged["content"], patch["content"])
    _, problems = _validate(merged if seen["type"] != "other" else _moved(merged))
    problems = [(loc, message) for loc, message in problems if _touches(patch, loc)]
    if problems:
        raise _invalid(problems)
    return merged


_Problems = list[tuple[Loc, str]]
_FIXED = ("id", "type", "created_by")
_MOVABLE = ("x", "y")
_MESSAGES = {
    "missing": "This is required.",
    "extra_forbidden": "There is no such field.",
    "model_type": "This is a JSON object.",
    "union_tag_not_found": f"This is required: one of {', '.join(ITEM_TYPES)}.",
    "union_tag_invalid": f"This is one of {', '.join(ITEM_TYPES)}.",
}


def _validate(data: Any) -> tuple[Item | None, _Problems]:
    if not isinstance(data, dict):
        return None, [((), "An item is a JSON object.")]
    problems: _Problems = []
    if _json_bytes({name: data.get(name) for name in ("content", "style")}) > CONTENT_BYTES_MAX:
        problems = [(("content",), f"Content and style have at most {CONTENT_BYTES_MAX} bytes of JSON together.")]
    try:
        return ITEM.validate_python(data), problems
    except ValidationError as error:
        return None, problems + [_told(told) for told in error.errors(include_url=False, include_input=False)]


def _told(error: Mapping[str, Any]) -> tuple[Loc, str]:
    """Return pydantic's error without the union's tag in its place."""
    kind, loc = error["type"], error["loc"]
    loc = ("type",) if kind.startswith("union_tag") else loc[1:]
    return loc, _MESSAGES.get(kind, f"{error['msg']}.".replace("..", "."))


def _validate_patch(seen: Mapping[str, Any], patch: Any) -> _Problems:
    if not isinstance(patch, dict):
        return [((), "A patch is a JSON object.")]
    problems = list(find_problems(patch, CONTENT_DEPTH_MAX + 1))
    changed = [name for name, value in patch.items() if value != seen.get(name)]
    problems += [
        ((name,), "This cannot be changed: delete the item and make another.") for name in _FIXED if name in changed
    ]
    if seen["type"] == "other":
        what = f"This is a person's {seen['content'].get('type')}: it can only be moved (x, y) or deleted here."
        problems += [((name,), what) for name in changed if name not in (*_MOVABLE, *_FIXED)]
    return problems


def _keep_one_name(content: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Drop a frame's title under the name that a patch does not use."""
    used = [name for name in ("title", "text") if patch.get(name) is not None]
    if len(used) == 1:
        content.pop("text" if used == ["title"] else "title", None)


def _moved(other: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item that is valid where `other`, which is none of ours, stands at a valid place."""
    return {name: other[name] for name in _MOVABLE if name in other} | {"type": "sticky", "content": {"text": ""}}


def _touches(patch: Any, loc: Loc) -> bool:
    """Return whether a patch sets, or removes, what stands at this place."""
    for name in loc:
        if not isinstance(patch, dict):
            return True
        if name not in patch:
            return False
        patch = patch[name]
    return True


def _json_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _invalid(problems: _Problems) -> InvalidItem:
    return InvalidItem([field_error(loc, message) for loc, message in problems[:ERRORS_MAX]])
