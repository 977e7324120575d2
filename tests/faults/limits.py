"""A disk that is full, without the right to mount one: files that may not grow."""

import os
import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path

WITHOUT_LIMIT = resource.RLIM_INFINITY


def files_grow_to(bytes_max: int, pids: Sequence[int]) -> None:
    """Let processes write to no place of a file beyond `bytes_max`; they have to ignore SIGXFSZ, or die of it.

    Works for one's own processes, and as root for another user's: it becomes that user to do so, for a container's root
    may change users and yet not set their limits. Only the soft limit changes, so that it can be taken back.
    """

    def limit() -> None:
        for pid in pids:
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_max, hard))

    owner = Path(f"/proc/{pids[0]}").stat()
    if owner.st_uid == os.geteuid():
        limit()
    else:
        subprocess.run(["true"], user=owner.st_uid, group=owner.st_gid, extra_groups=[], preexec_fn=limit, check=True)
