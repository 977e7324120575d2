"""Uploads are looked at in a process of their own: what hangs it or kills it costs nobody but its uploader."""

import asyncio
import gc

import pytest

from bridge.errors import BrokenPicture, UnsupportedPicture
from bridge.inspection import inspect
from bridge.pictures import Picture
from tests.picturefiles import picture_file

FAILING = "tests.failing_picture_process"


async def test_it_says_what_read_picture_says() -> None:
    assert await inspect(picture_file("GIF", frames=2)) == Picture("image/gif", 6, 4, is_animated=True)
    with pytest.raises(UnsupportedPicture, match="no PNG, JPEG"):
        await inspect(b"<svg/>")
    with pytest.raises(BrokenPicture, match="cut off"):
        await inspect(picture_file("PNG")[:-1])


@pytest.mark.parametrize("order", [b"crash", b"exits", b"hangs"])
async def test_a_file_that_its_reader_does_not_survive_is_refused(order: bytes) -> None:
    with pytest.raises(BrokenPicture, match="cannot be read: save it anew"):
        await inspect(order, FAILING, seconds_max=1.0)
    assert await inspect(picture_file("PNG"), FAILING) == Picture("image/png", 6, 4, is_animated=False)


async def test_a_busy_file_is_given_up_and_the_loop_goes_on_meanwhile() -> None:
    fill = picture_file("JPEG")
    busy = fill[:2] + b"\xff" * (10 * 1024 * 1024 - len(fill)) + fill[2:]
    looking = asyncio.create_task(inspect(busy, seconds_max=0.5))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0.001)
        turns += 1
    with pytest.raises(BrokenPicture):
        await looking
    assert turns > 20


async def test_a_picture_that_claims_much_memory_gets_little() -> None:
    film = picture_file("WEBP", frames=2)
    film = film[:24] + (16383 - 1).to_bytes(3, "little") * 2 + film[30:]
    with pytest.raises((UnsupportedPicture, BrokenPicture)):
        await inspect(film)


async def test_cancelled_it_leaves_nothing_behind() -> None:
    looking = asyncio.create_task(inspect(b"hangs", FAILING))
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    gc.collect()  # a transport or a process left over is a warning, and so an error
