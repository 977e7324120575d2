"""What a file is, by its content: a picture that every browser shows, or nothing that is kept here (pure).

Only headers are read, no pixel is decoded. What passes may still hold anything where a picture has room for it, as any
picture may: it is served so that a browser takes it for that picture and nothing else.
"""

from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from bridge.errors import BrokenPicture, UnsupportedPicture

PIXELS_MAX = 64 * 1024 * 1024
"""Width times height: whoever opens the board decodes it, at four bytes a pixel."""
SIDE_PIXELS_MAX = 16_384
"""The largest texture that browsers reliably take."""

# Pillow's own bound warns, and then raises, at sizes above ours.
Image.MAX_IMAGE_PIXELS = None

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "AVIF")
_MIME_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",  # a JPEG with others behind it, which phones make and browsers ignore
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}
MIME_TYPES = tuple(dict.fromkeys(_MIME_TYPES.values()))
_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held; from 5 on the picture is shown lying on its side."""
_SIDEWAYS = 5


class Picture(NamedTuple):
    """What is known of a picture without decoding it."""

    mime_type: str
    width: int
    """In pixels, as it is shown."""
    height: int
    is_animated: bool


def read_picture(body: bytes) -> Picture:
    """Return what these bytes show. Raises UnsupportedPicture, BrokenPicture.

    Hostile bytes may keep it busy for seconds: see `inspection`.
    """
    try:
        with Image.open(BytesIO(body), formats=_FORMATS) as image:
            kind = image.format or ""
            width, height = image.size
            is_animated = kind not in {"JPEG", "MPO"} and getattr(image, "is_animated", False)
            is_sideways = kind in {"JPEG", "MPO", "AVIF"} and image.getexif().get(_ORIENTATION, 1) >= _SIDEWAYS
    except Exception as error:  # hostile bytes make parsers raise anything
        raise UnsupportedPicture("This is no PNG, JPEG, GIF, WebP or AVIF picture, or a damaged one.") from error
    if max(width, height) > SIDE_PIXELS_MAX or width * height > PIXELS_MAX:
        raise BrokenPicture(
            f"A picture has at most {PIXELS_MAX} pixels, and {SIDE_PIXELS_MAX} a side; this one claims {width} x "
            f"{height}: make it smaller."
        )
    if min(width, height) < 1 or not _is_whole(kind, body):
        raise BrokenPicture("This picture is cut off, or something else follows its end: save it anew.")
    if is_sideways:
        width, height = height, width
    return Picture(_MIME_TYPES[kind], width, height, is_animated)


def _is_whole(kind: str, body: bytes) -> bool:
    """Return whether a file ends where the picture in it does."""
    return _ENDINGS[kind](body)


def _jpeg_ends(body: bytes) -> bool:
    """Return whether a JPEG's first scan has an end. Phones put films and second pictures behind it: these may stay.

    Within a scan no 0xFF stands without a 0x00 or a restart marker behind it (ITU T.81, B.1.1).
    """
    position = 2
    while body[position : position + 1] == b"\xff":
        if body[position + 1 : position + 2] == b"\xda":
            return body.find(b"\xff\xd9", position) > 0
        # Fill bytes may stand before a marker.
        is_fill = body[position + 1 : position + 2] == b"\xff"
        position += 1 if is_fill else 2 + int.from_bytes(body[position + 2 : position + 4], "big")
    return False


def _riff_ends(body: bytes) -> bool:
    return 8 + int.from_bytes(body[4:8], "little") == len(body)


def _boxes_end(body: bytes) -> bool:
    """Return whether the boxes of a file fill it exactly, its data among them (ISO/IEC 14496-12, 4.2)."""
    position, has_data = 0, False
    while position < len(body):
        size = int.from_bytes(body[position : position + 4], "big")
        has_data = has_data or body[position + 4 : position + 8] == b"mdat"
        if size == 1:
            size = int.from_bytes(body[position + 8 : position + 16], "big")
        if size < 8:
            return False  # 0, "to the end of the file", does not tell where that was
        position += size
    return has_data and position == len(body)


_ENDINGS: dict[str, Callable[[bytes], bool]] = {
    "PNG": lambda body: body.endswith(b"\x00\x00\x00\x00IEND\xaeB`\x82"),
    "JPEG": _jpeg_ends,
    "MPO": _jpeg_ends,
    "GIF": lambda body: body.endswith(b"\x3b"),
    "WEBP": _riff_ends,
    "AVIF": _boxes_end,
}
