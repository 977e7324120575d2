"""Files that are private, whole, or held by one process at a time."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from boardctl import files
from boardctl.errors import CannotStart


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_private_whatever_the_umask_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        files.write_private(path, "new")
    finally:
        os.umask(before)
    assert path.read_text() == "new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_where_a_private_file_cannot_be_put(tmp_path: Path) -> None:
    in_the_way = tmp_path / "ready"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="ready"):
        files.write_private(in_the_way, "new")
    assert list(tmp_path.iterdir()) == [in_the_way]


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "password"
    secret = files.kept_secret(path)
    assert len(secret) >= 32
    assert files.kept_secret(path) == secret
    assert mode(path) == 0o600


async def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    async with files.held(tmp_path / "data"):
        with pytest.raises(CannotStart, match=rf"Process {os.getpid()} already uses .*data.*--data"):
            async with files.held(tmp_path / "data"):
                pass
    async with files.held(tmp_path / "data"):
        pass


async def test_a_folder_is_not_free_while_a_dead_holders_servers_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with files.held(tmp_path) as descriptor:
        server = await asyncio.create_subprocess_exec("sleep", "3600", pass_fds=(descriptor,))
        gone = await asyncio.create_subprocess_exec("true")
        await gone.wait()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(gone.pid).encode(), 0)

    monkeypatch.setattr(files, "LEFTOVERS_SECONDS_MAX", 0.1)
    with pytest.raises(CannotStart, match="killed `boardctl up`"):
        async with files.held(tmp_path):
            pass

    server.kill()
    await server.wait()
    async with files.held(tmp_path):
        pass
