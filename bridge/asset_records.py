"""The asset records that images show: found, made of an address or of what was uploaded; who uses them (pure)."""

from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from boardlog.ids import BoardId
from bridge.errors import UnknownAsset
from bridge.pictures import Picture
from bridge.shapes import Record, Records, asset_key, each, find_record, part

_NAME_CHARS_MAX = 200
_MIME_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
    "svg": "image/svg+xml", "avif": "image/avif", "apng": "image/apng",
}  # fmt: skip
_ANIMATED = ("image/gif", "image/apng")


class Asset(NamedTuple):
    """What is known of an uploaded picture, all but its bytes."""

    board: BoardId
    asset_id: str
    picture: Picture
    size_bytes: int
    sha256: str
    """Of its bytes, in hexadecimal digits."""
    created_by: str
    """The label of the key that uploaded it."""

    @property
    def url(self) -> str:
        """Where it is read: the address that its record shows."""
        return f"/v1/boards/{self.board}/assets/{self.asset_id}"


def find_asset(records: Records, asset_id: str) -> Record:
    """Return the board's asset of this id; raise UnknownAsset if there is none."""
    asset = find_record(records, asset_key(asset_id), "asset")
    if asset is None:
        raise UnknownAsset(asset_id)
    return asset


def missing_asset(records: Records, item_id: str, asset: Asset) -> dict[str, Record]:
    """Return the record of an uploaded asset for an item, under its key; nothing if the board has one already."""
    key = asset_key(asset.asset_id)
    if find_record(records, key, "asset") is not None:
        return {}
    props = {
        "w": asset.picture.width,
        "h": asset.picture.height,
        "name": asset.asset_id,
        "src": asset.url,
        "mimeType": asset.picture.mime_type,
        "isAnimated": asset.picture.is_animated,
        "fileSize": asset.size_bytes,
    }
    return {key: _record(key, item_id, props)}


def make_asset(records: Records, item_id: str, url: str, size: tuple[float, float]) -> Record:
    """Return the record of the picture at `url` for an item, under the item's own name if that is free."""
    names = (item_id if number == 1 else f"{item_id}-{number}" for number in count(1))
    key = next(asset_key(name) for name in names if asset_key(name) not in records)
    return _record(key, item_id, {"w": size[0], "h": size[1], **source_props(url)})


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


def _record(key: str, item_id: str, props: Record) -> Record:
    return {"id": key, "typeName": "asset", "type": "image", "props": props, "meta": {"dockerclaw_id": item_id}}


def _is_agents(records: Records, key: str) -> bool:
    asset = find_record(records, key, "asset")
    return asset is not None and isinstance(part(asset, "meta").get("dockerclaw_id"), str)
