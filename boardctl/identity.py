"""As whom a child runs: PostgreSQL refuses to run as root, so below root it runs as an ordinary user."""

import ctypes
import os
import pwd
import stat
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

from boardctl.errors import CannotStart

ORDINARY_USER = "nobody"

# prctl(2), capabilities(7), <linux/capability.h>
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_HEADER = struct.pack("Ii", 0x20080522, 0)
_CAPABILITY_SETS = struct.pack("6I", *[1 << _CAP_DAC_OVERRIDE] * 3, 0, 0, 0)

# Loaded before any fork: between fork and exec a child must not import or allocate more than it has to.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """An ordinary user for a child of root."""

    uid: int
    gid: int
    passes_closed_folders: bool
    """Whether it keeps one of root's rights, to pass folders that are closed to it, such as /root."""

    def assume(self) -> None:
        """Become this user. For a child between fork and exec; raises OSError."""
        if self.passes_closed_folders:
            # access(2), by which PostgreSQL looks at its own program, ignores capabilities without this.
            _must(_libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.passes_closed_folders:
            _must(_libc.capset(_CAPABILITY_HEADER, _CAPABILITY_SETS))
            _must(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0))


def ordinary_identity(data: Path, program: Path) -> Identity | None:
    """Return who is to run `program` on `data`: None for whoever runs this, if not root; the data's owner; or nobody.

    Raises CannotStart if there is no such user, or no way for it to the files.
    """
    if os.geteuid() != 0:
        return None
    uid, gid = _owner(data)
    closed = [path for path in (*data.parents, *program.parents, program) if not _may_enter(path, uid, gid)]
    if closed and sys.platform != "linux":
        raise CannotStart(
            f"As root, PostgreSQL runs as {ORDINARY_USER}, to whom {closed[0]} is closed: run this as an ordinary user."
        )
    return Identity(uid, gid, passes_closed_folders=bool(closed))


def die_with_parent(parent_pid: int, signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent ends, however it ends (Linux only).

    For a child between fork and exec, after any change of user, which would undo it. The kernel goes by the *thread*
    that forked: children have to be started from the main thread.
    """
    if sys.platform == "linux":
        _must(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0))
    if os.getppid() != parent_pid:  # it ended before the line above
        os._exit(1)


def _owner(data: Path) -> tuple[int, int]:
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    try:
        user = pwd.getpwnam(ORDINARY_USER)
    except KeyError:
        raise CannotStart(
            f"PostgreSQL does not run as root and there is no user {ORDINARY_USER}: run this as an ordinary user, "
            "or pass --database-url."
        ) from None
    return user.pw_uid, user.pw_gid


def _may_enter(path: Path, uid: int, gid: int) -> bool:
    """Tell whether this user may pass a folder or execute a file. A missing one will be made so that it can."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return True
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IXUSR)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH))


def _must(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
