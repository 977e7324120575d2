"""Small files that must be private, whole, or held by one process at a time."""

import asyncio
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from boardctl.errors import CannotStart

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
PASSABLE_FOLDER = 0o711
"""Others may pass through to what they own inside, and see nothing: PostgreSQL runs as another user below root."""
LEFTOVERS_SECONDS_MAX = 10.0
"""What the servers of a killed `boardctl up` may take to end: they save their data first."""
POLL_SECONDS = 0.05


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it appears whole or not at all. Raises OSError."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(unfinished, "x", encoding="utf-8", opener=_private) as file:
            file.write(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def new_password() -> str:
    """Return 128 random bits as text."""
    return secrets.token_hex(16)


def kept_secret(path: Path, make: Callable[[], str] = new_password) -> str:
    """Return the line in `path`, written there on first use with what `make` returns. Raises OSError."""
    with suppress(FileNotFoundError):
        return path.read_text("utf-8").strip()
    secret = make()
    write_private(path, secret + "\n")
    return secret


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[int]:
    """Hold `folder` (made if missing) for this process; yield a descriptor, which children may inherit.

    The folder is free again once the last process with the descriptor is gone: servers that outlive a killed parent
    for a moment keep a second one from starting on the same files. Raises CannotStart if somebody else holds it.
    """
    folder.mkdir(mode=PASSABLE_FOLDER, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        await _lock(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


async def _lock(descriptor: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(LEFTOVERS_SECONDS_MAX):
            while not _locked(descriptor):
                holder = os.pread(descriptor, 20, 0).decode()
                if _is_alive(holder):
                    raise CannotStart(
                        f"Process {holder} already uses {folder}: stop it, or pass another folder with --data."
                    )
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise CannotStart(
            f"The servers that a killed `boardctl up` started on {folder} still run: stop them."
        ) from None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: str) -> bool:
    """Tell whether there is such a process; a lock's first holder has not written its id for an instant."""
    if not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
