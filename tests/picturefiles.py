"""Picture files for tests, made by Pillow."""

from io import BytesIO
from typing import Any

from PIL import Image

MIME_TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}


def picture_file(kind: str = "PNG", size: tuple[int, int] = (6, 4), frames: int = 1, **how: Any) -> bytes:
    """Return a file of this kind; each of its frames has a colour of its own."""
    first, *more = [Image.new("RGB", size, (40 * frame, 90, 200)) for frame in range(frames)]
    file = BytesIO()
    first.save(file, kind, **({"save_all": True, "append_images": more} if more else {}), **how)
    return file.getvalue()
