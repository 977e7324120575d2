"""As whom PostgreSQL runs."""

import os
import pwd
from pathlib import Path

import pytest

from boardctl import identity
from boardctl.errors import CannotStart

# Somebody else than whoever runs the tests.
OTHER = pwd.getpwnam("daemon" if os.geteuid() == pwd.getpwnam("nobody").pw_uid else "nobody")


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(identity, "ORDINARY_USER", OTHER.pw_name)


def test_an_ordinary_user_runs_it_himself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert identity.ordinary_identity(tmp_path / "data", Path("/bin/true")) is None


def test_root_hands_it_to_an_ordinary_user_without_rights_where_the_way_is_open(as_root: None) -> None:
    chosen = identity.ordinary_identity(Path("/no such folder/data"), Path("/bin/true"))
    assert chosen == identity.Identity(OTHER.pw_uid, OTHER.pw_gid, passes_closed_folders=False)


@pytest.mark.parametrize("closed", ["data", "program"])
def test_root_lets_it_pass_closed_folders(as_root: None, tmp_path: Path, closed: str) -> None:
    tmp_path.chmod(0o700)
    where = {"data": Path("/no such folder/data"), "program": Path("/bin/true"), closed: tmp_path / "x"}
    chosen = identity.ordinary_identity(where["data"], where["program"])
    assert chosen == identity.Identity(OTHER.pw_uid, OTHER.pw_gid, passes_closed_folders=True)


def test_a_program_that_only_its_owner_may_execute_counts_as_closed(as_root: None, tmp_path: Path) -> None:
    program = tmp_path / "initdb"
    program.touch(0o700)
    assert not identity._may_enter(program, OTHER.pw_uid, OTHER.pw_gid)
    assert identity._may_enter(program, program.stat().st_uid, 0)
    program.chmod(0o710)
    assert identity._may_enter(program, OTHER.pw_uid, program.stat().st_gid)
    program.chmod(0o701)
    assert identity._may_enter(program, OTHER.pw_uid, OTHER.pw_gid)


def test_without_an_ordinary_user_it_says_what_to_do(as_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "ORDINARY_USER", "no-such-user")
    with pytest.raises(CannotStart, match=r"no user no-such-user.*--database-url"):
        identity.ordinary_identity(Path("/no such folder/data"), Path("/bin/true"))
