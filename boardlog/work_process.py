"""`python -m boardlog.work_process BYTES_MAX`: answers what comes on standard input until it ends.

A process of its own, so that the work stalls no event loop (pycrdt and Python hold the GIL) and an update that crashes
the native code, or takes too much, takes nobody with it (G6). It holds nothing but its two pipes. Both ways a frame is
its length in LENGTH_BYTES, high byte first, and that many bytes of msgpack: (work, the seconds that it may
compute, the seconds after which nobody waits, ...) in, (answer, ...) out; first of all LISTENING out.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import msgpack
from pycrdt import Doc

from boardlog.coverage import read_state
from boardlog.errors import InvalidUpdate
from boardlog.merge import difference, fold, is_panic
from boardlog.update import validate

LENGTH_BYTES = 8
NICENESS = 10
"""A whole board is read or folded where its service, or another one, has to answer within milliseconds."""
FOLD, VALIDATE, WEIGH, READ, DIFFER = range(5)
"""Work: (base, updates), (an update), (a state), (a state), (a state, a state vector)."""
DONE, FAILED, LISTENING = range(3)
"""Answers: (DONE, ...), (FAILED, a sentence); (LISTENING,) once all is imported."""
INTERVALS_MAX = 40_000
"""What an update speaks of is told in so many intervals at most: whoever asked compares them on its event loop."""


def frame(message: object) -> list[bytes]:
    """Return a message as it goes through a pipe, in pieces."""
    packed: bytes = msgpack.packb(message)
    return [len(packed).to_bytes(LENGTH_BYTES, "big"), packed]


def main(bytes_max: int) -> None:
    """Answer one request after another until standard input ends. Work that takes longer or more ends the process."""
    # Whoever stops the service stops its parent, which may still need a fold to finish: the end of the pipe ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (bytes_max, bytes_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print is not an answer
    requests = sys.stdin.buffer
    if not _write(answers, (LISTENING,)):
        return
    while length := requests.read(LENGTH_BYTES):
        work, seconds, wall_seconds, *content = msgpack.unpackb(requests.read(int.from_bytes(length, "big")))
        # The kernel's default for these signals ends even native code: the first where it takes too long by itself, the
        # second even when nobody waits for us any more.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, wall_seconds)
        answer = _answer(work, content)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not _write(answers, answer):
            return


def _answer(work: int, content: list[Any]) -> tuple[Any, ...]:
    try:
        return DONE, *_WORKS[work](*content)
    except MemoryError:
        return FAILED, "It takes more memory than it may."
    except InvalidUpdate as error:
        return FAILED, str(error)
    except Exception as error:  # noqa: BLE001  whatever it is, the parent finds out which update brings it about
        return FAILED, f"{type(error).__name__}: {error}."


def _fold(base: bytes, updates: list[bytes]) -> tuple[Any, ...]:
    folded = fold(base, updates)
    return folded.state, folded.state_vector, folded.rejected


def _validate(update: bytes) -> tuple[Any, ...]:
    ranges = validate(update)
    return ranges.flat() if ranges.interval_count <= INTERVALS_MAX else (None, None)


def _read(state: bytes) -> tuple[Any, ...]:
    read = read_state(state)
    return read.vector, read.remainder, *read.ranges.flat()


def _differ(state: bytes, state_vector: bytes) -> tuple[bytes]:
    return (difference(state, state_vector),)


def _weigh(state: bytes) -> tuple[float]:
    """Return how many seconds of CPU it takes to read a state into a document. Raise InvalidUpdate if it cannot be."""
    began = time.process_time()
    try:
        Doc().apply_update(state)
    except BaseException as error:
        if isinstance(error, (ValueError, RuntimeError)) or is_panic(error):
            raise InvalidUpdate(f"The state cannot be read: {error}") from error
        raise
    return (time.process_time() - began,)


_WORKS: dict[int, Callable[..., tuple[Any, ...]]] = {
    FOLD: _fold,
    VALIDATE: _validate,
    WEIGH: _weigh,
    READ: _read,
    DIFFER: _differ,
}


def _write(answers: BinaryIO, message: object) -> bool:
    try:
        answers.writelines(frame(message))
        answers.flush()
    except BrokenPipeError:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]))
