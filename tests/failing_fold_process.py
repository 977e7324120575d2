"""A folding process that some updates kill, hang or make fail: what validation and `merge.fold` let through one day."""

import os
import signal
import sys
from collections.abc import Sequence

from pycrdt import Doc

from boardlog import children, merge, work_process

CRASH, HANG, FAIL, KILLED, GREEDY = b"crash", b"hang", b"fail", b"killed", b"greedy"
"""KILLED: it is ended from outside, as by a machine that is out of memory. GREEDY: it takes all memory it can get."""
_LEVELS = 200_000
"""Lists within lists: far more than the native decoder's stack holds."""


def fold(base: bytes, updates: Sequence[bytes]) -> merge.Folded:
    for update in (base, *updates):
        if update == CRASH:
            nested = b"\x75\x01" * _LEVELS + b"\x7e"
            Doc().apply_update(b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01" + nested + b"\x00")
        if update == HANG:
            while True:
                pass
        if update == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if update == GREEDY:
            bytearray(children.PROCESS_BYTES_MAX)
        if update == FAIL:
            raise KeyError("a fault in our own code")
    return merge.fold(base, updates)


if __name__ == "__main__":
    vars(work_process)["fold"] = fold
    work_process.main(int(sys.argv[1]))
