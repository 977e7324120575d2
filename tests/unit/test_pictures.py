"""What a file is, by its content."""

import random
import struct
import zipfile
import zlib
from io import BytesIO

import pytest
from PIL import Image

from bridge.errors import BrokenPicture, UnsupportedPicture
from bridge.pictures import PIXELS_MAX, SIDE_PIXELS_MAX, Picture, read_picture
from tests.picturefiles import MIME_TYPES, picture_file

KINDS = tuple(MIME_TYPES)
ORIENTATION = 0x0112


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be so large."""
    whole = picture_file("PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_by_its_content(kind: str) -> None:
    assert read_picture(picture_file(kind, (60, 40))) == Picture(MIME_TYPES[kind], 60, 40, is_animated=False)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF"])
def test_films_are_told_from_stills(kind: str) -> None:
    assert read_picture(picture_file(kind, frames=3)).is_animated


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])
@pytest.mark.parametrize(("orientation", "size"), [(1, (6, 4)), (3, (6, 4)), (6, (4, 6)), (8, (4, 6))])
def test_a_picture_has_the_size_in_which_it_is_shown(kind: str, orientation: int, size: tuple[int, int]) -> None:
    picture = read_picture(picture_file(kind, exif=turned(orientation)))
    assert (picture.width, picture.height) == size


def test_a_phones_jpeg_with_a_second_picture_and_a_film_behind_it_is_a_still_jpeg() -> None:
    phones = picture_file("MPO", frames=2)
    assert read_picture(phones) == Picture("image/jpeg", 6, 4, is_animated=False)
    assert read_picture(picture_file("JPEG") + b"\0\0\0\x18ftypmp42 a film") == read_picture(picture_file("JPEG"))


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\0" * 100, SVG, HTML, b'<?xml version="1.0"?>' + SVG, b"GIF89a" + HTML, b"\x89PNG\r\n\x1a\n" + HTML,
        b"\xff\xd8\xff" + HTML, b"RIFF\x40\0\0\0WEBP" + HTML, b"%PDF-1.7", b"BM" + bytes(100), b"\0\0\1\0" + bytes(100),
        picture_file("BMP"), picture_file("TIFF"), picture_file("ICO"), picture_file("PPM"), picture_file("JPEG2000"),
    ],
)  # fmt: skip
def test_what_is_no_picture_or_of_another_kind_is_refused(body: bytes) -> None:
    with pytest.raises(UnsupportedPicture, match="no PNG, JPEG, GIF, WebP or AVIF"):
        read_picture(body)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_that_is_cut_off_anywhere_is_refused(kind: str) -> None:
    whole = picture_file(kind, (60, 40))
    for end in range(len(whole)):
        with pytest.raises((UnsupportedPicture, BrokenPicture)):
            read_picture(whole[:end])


def test_a_jpeg_is_not_whole_because_its_thumbnail_is() -> None:
    plain = picture_file("JPEG", (60, 40))
    thumbnail = b"Exif\0\0" + picture_file("JPEG")
    whole = plain[:2] + b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail + plain[2:]
    assert read_picture(whole).width == 60
    with pytest.raises(BrokenPicture, match="cut off"):
        read_picture(whole[:-10])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF"])
def test_a_picture_with_something_else_behind_it_is_refused(kind: str) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("evil.js", "alert(1)")
    for more in (archive.getvalue(), HTML, b"\0"):
        with pytest.raises(BrokenPicture, match="save it anew"):
            read_picture(picture_file(kind) + more)


@pytest.mark.parametrize(
    ("width", "height"),
    [(SIDE_PIXELS_MAX + 1, 1), (1, 2**31 - 1), (SIDE_PIXELS_MAX, PIXELS_MAX // SIDE_PIXELS_MAX + 1)],
)
def test_a_bomb_is_refused_by_what_it_claims(width: int, height: int) -> None:
    with pytest.raises(BrokenPicture, match="make it smaller"):
        read_picture(claiming(width, height))


def test_the_largest_picture_is_taken_without_a_warning() -> None:
    assert read_picture(claiming(SIDE_PIXELS_MAX, PIXELS_MAX // SIDE_PIXELS_MAX)).width == SIDE_PIXELS_MAX


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_raise_nothing_else(kind: str) -> None:
    chance = random.Random(kind)
    how = {"exif": turned(6)} if kind in {"JPEG", "AVIF"} else {"frames": 3}
    whole = picture_file(kind, (60, 40), **how)
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(whole) if chance.random() < 0.5 else 64)] = chance.randrange(256)
        try:
            picture = read_picture(bytes(damaged))
        except (UnsupportedPicture, BrokenPicture):
            continue
        assert picture.mime_type == MIME_TYPES[kind]
        assert picture.width * picture.height <= PIXELS_MAX
