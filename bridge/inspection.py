"""Looking at an upload in a process of its own, which may hang or die of it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE

import structlog

from bridge import picture_process
from bridge.errors import BrokenPicture, UnsupportedPicture
from bridge.pictures import Picture

log = structlog.get_logger()

INSPECTION_SECONDS_MAX = 5.0
"""An honest picture takes a twentieth of a second, with the start of the process."""
PROGRAM = "bridge.picture_process"


async def inspect(body: bytes, program: str = PROGRAM, seconds_max: float = INSPECTION_SECONDS_MAX) -> Picture:
    """Do what `pictures.read_picture` does, without stalling the loop. Raises UnsupportedPicture, BrokenPicture.

    Cancelled, it ends the process.
    """
    safe_path = ("-P",) if sys.flags.safe_path else ()
    command = (sys.executable, *safe_path, "-m", program, str(2 * seconds_max))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
    try:
        async with asyncio.timeout(seconds_max):
            answer, _ = await process.communicate(body)
    except TimeoutError:
        raise _broken("it takes too long") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()  # the pipes have to be closed too
    if process.returncode != 0:
        raise _broken(f"exit code {process.returncode}")
    kind, *content = json.loads(answer)
    if kind == picture_process.PICTURE:
        return Picture(*content)
    raise (UnsupportedPicture if kind == picture_process.UNSUPPORTED else BrokenPicture)(*content)


def _broken(reason: str) -> BrokenPicture:
    log.warning("picture_unreadable", reason=reason)
    return BrokenPicture("This picture cannot be read: save it anew.")
