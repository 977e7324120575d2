"""The assets that images show: their records, and who uses them (pure)."""

from itertools import count
from typing import Any
from urllib.parse import urlsplit

from bridge.errors import FieldError, InvalidItem
from bridge.shapes import Record, Records, asset_key, each, find_record, part

_NAME_CHARS_MAX = 200
_MIME_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "svg": "image/svg+xml", "avif": "image/avif", "apng": "image/apng",
}  # fmt: skip
_ANIMATED = ("image/gif", "image/apng")


def find_asset(records: Records, asset_id: str) -> Record:
    """Return the board's asset of this id; raise InvalidItem if there is none."""
    asset = find_record(records, asset_key(asset_id), "asset")
    if asset is None:
        raise InvalidItem(
            [FieldError("content.asset_id", "This board has no such asset: upload it first, or give a url.")]
        )
    return asset


def make_asset(records: Records, item_id: str, url: str, size: tuple[float, float]) -> Record:
    """Return the record of the picture at `url` for an item, under the item's own name if that is free."""
    names = (item_id if number == 1 else f"{item_id}-{number}" for number in count(1))
    key = next(asset_key(name) for name in names if asset_key(name) not in records)
    props = {"w": size[0], "h": size[1], **source_props(url)}
    return {"id": key, "typeName": "asset", "type": "image", "props": props, "meta": {"dockerclaw_id": item_id}}


def source_props(url: str) -> Record:
    """Return the props that make an asset show the picture at `url`."""
    if url[:5].lower() == "data:":
        name, mime_type = "image", url[5:].replace(",", ";").split(";", 1)[0].lower()
        return {"name": name, "src": url, "mimeType": mime_type, "isAnimated": mime_type in _ANIMATED}
    name = urlsplit(url).path.rsplit("/", 1)[-1][:_NAME_CHARS_MAX] or "image"
    guessed = _MIME_TYPES.get(name.rsplit(".", 1)[-1].lower()) if "." in name else None
    return {"name": name, "src": url, "mimeType": guessed, "isAnimated": guessed in _ANIMATED}


def own_assets(records: Records, shapes: set[str]) -> set[str]:
    """Return the keys of the assets that agents brought and that nothing but these shapes uses.

    A person's stay: undo or paste may want them back.
    """
    used: dict[Any, bool] = {}
    for shape in each(records, "shape"):
        key = part(shape, "props").get("assetId")
        if isinstance(key, str):
            used[key] = used.get(key, True) and shape["id"] in shapes
    return {key for key, only_by_them in used.items() if only_by_them and _is_agents(records, key)}


def _is_agents(records: Records, key: str) -> bool:
    asset = find_record(records, key, "asset")
    return asset is not None and isinstance(part(asset, "meta").get("dockerclaw_id"), str)
