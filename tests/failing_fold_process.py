"""A folding process that some updates kill, hang or make fail: what validation and `merge.fold` let through one day."""

import sys
import threading
from collections.abc import Sequence

from pycrdt import Doc

from boardlog import fold_process, merge

CRASH, HANG, FAIL = b"crash", b"hang", b"fail"
_LEVELS = 200_000
"""Lists within lists: far more than the native decoder's stack holds."""


def fold(base: bytes, updates: Sequence[bytes]) -> merge.Folded:
    for update in (base, *updates):
        if update == CRASH:
            nested = b"\x75\x01" * _LEVELS + b"\x7e"
            Doc().apply_update(b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01" + nested + b"\x00")
        if update == HANG:
            threading.Event().wait()
        if update == FAIL:
            raise KeyError("a fault in our own code")
    return merge.fold(base, updates)


if __name__ == "__main__":
    vars(fold_process)["fold"] = fold
    fold_process.main(float(sys.argv[1]))
