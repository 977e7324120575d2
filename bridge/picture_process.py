"""`python -m bridge.picture_process SECONDS`: says what picture comes on standard input, and ends.

A process of its own, because a hostile file keeps a parser busy for seconds with the interpreter held, takes memory, or
crashes native code. It holds nothing but its two pipes. The answer is JSON: an answer's name, and what it consists of.
"""

import json
import resource
import signal
import sys

from bridge.errors import BrokenPicture, UnsupportedPicture
from bridge.pictures import read_picture

MEMORY_BYTES_MAX = 1024 * 1024 * 1024
"""A decoder that is only asked for the size sets a few frames' room aside all the same."""
PICTURE, UNSUPPORTED, BROKEN = "picture", "unsupported", "broken"


def main(seconds_max: float) -> None:
    """Answer once. What takes longer ends the process, even if nobody waits for it any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    signal.setitimer(signal.ITIMER_REAL, seconds_max)
    answer = _answer(sys.stdin.buffer.read())
    sys.stdout.write(json.dumps(answer))


def _answer(body: bytes) -> list[object]:
    try:
        return [PICTURE, *read_picture(body)]
    except UnsupportedPicture as error:
        return [UNSUPPORTED, str(error)]
    except BrokenPicture as error:
        return [BROKEN, str(error)]


if __name__ == "__main__":
    main(float(sys.argv[1]))
