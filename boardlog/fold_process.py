"""`python -m boardlog.fold_process SECONDS`: folds what comes on standard input until it ends.

A process of its own, so that a fold stalls no event loop (pycrdt holds the GIL) and an update that crashes the native
code takes nobody with it (G6). It holds nothing but its two pipes. Both ways a frame is its length in LENGTH_BYTES,
high byte first, and that many bytes of msgpack: (base, updates) in, (answer, ...) out; first of all LISTENING out.
"""

import os
import signal
import sys
from typing import Any, BinaryIO

import msgpack

from boardlog.errors import InvalidUpdate
from boardlog.merge import fold

LENGTH_BYTES = 8
FOLDED, FAILED, LISTENING = range(3)
"""Answers: (FOLDED, state, state vector, rejected), (FAILED, a sentence); (LISTENING,) once all is imported."""


def frame(message: object) -> bytes:
    """Return a message as it goes through a pipe."""
    packed: bytes = msgpack.packb(message)
    return len(packed).to_bytes(LENGTH_BYTES, "big") + packed


def main(seconds_max: float) -> None:
    """Answer one request after another until standard input ends. A fold that takes longer ends the process."""
    # Whoever stops the service stops its parent, which may still need a fold to finish: the end of the pipe ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print is not an answer
    requests = sys.stdin.buffer
    if not _write(answers, frame((LISTENING,))):
        return
    while length := requests.read(LENGTH_BYTES):
        base, updates = msgpack.unpackb(requests.read(int.from_bytes(length, "big")))
        # The kernel's default for this signal ends even native code, and even when nobody waits for us any more.
        signal.setitimer(signal.ITIMER_REAL, seconds_max)
        answer = _answer(base, updates)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not _write(answers, frame(answer)):
            return


def _answer(base: bytes, updates: list[bytes]) -> tuple[Any, ...]:
    try:
        folded = fold(base, updates)
    except MemoryError:
        raise  # nobody's fault: it ends this process
    except InvalidUpdate as error:
        return FAILED, str(error)
    except Exception as error:  # noqa: BLE001  whatever it is, the parent finds out which update brings it about
        return FAILED, f"{type(error).__name__}: {error}."
    return FOLDED, folded.state, folded.state_vector, folded.rejected


def _write(answers: BinaryIO, data: bytes) -> bool:
    try:
        answers.write(data)
        answers.flush()
    except BrokenPipeError:
        return False
    return True


if __name__ == "__main__":
    main(float(sys.argv[1]))
