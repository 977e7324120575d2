"""The modules that a wheel has compiled do what the plain ones do, which every other test runs (hatch_build.py)."""

import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from hatch_build import missing
from tests.compiled.cases import answer, cases

ROOT = Path(__file__).parents[2]
TREE = ROOT / "build" / "compiled"
SECONDS_MAX = 300
UNIT_TESTS = (
    "update", "joining", "wire", "awareness", "coverage", "relay_frames", "relay_protocol", "relay_session",
)  # fmt: skip
pytestmark = pytest.mark.timeout(SECONDS_MAX)


def make(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, tree.parents[1] / "hatch_build.py", tree]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def modules() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    files = project["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["compiled"]
    return [file.removesuffix(".py").replace("/", ".") for file in files]


def test_what_is_compiled_answers_as_plain_python_does_and_passes_its_tests(tmp_path: Path) -> None:
    made = make(TREE)
    assert made.returncode == 0, made.stderr
    is_compiled = (TREE / "boardlog" / f"lib0{sysconfig.get_config_var('EXT_SUFFIX')}").exists()
    assert is_compiled is (missing() is None)
    if not is_compiled:
        return
    answers = tmp_path / "answers"
    answers.write_bytes(pickle.dumps([(case, answer(case)) for case in cases()]))
    tests = ["tests/compiled/inside.py", *(f"tests/unit/test_{name}.py" for name in UNIT_TESTS)]
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "--import-mode=append", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{TREE}:{ROOT}",
            "TREE": str(TREE),
            "MODULES": " ".join(modules()),
            "ANSWERS": str(answers),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_plain_modules_are_what_a_checkout_runs() -> None:
    """A shared object beside a source would be run in place of it, however old it is."""
    for package in ("boardlog", "relay", "bridge", "persistence_worker", "boardctl"):
        assert list((ROOT / package).rglob("*.so")) == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    for package in ("boardlog", "relay", "bridge", "persistence_worker", "boardctl"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "canvas"))
    return tmp_path


def test_without_a_compiler_the_tree_is_plain_and_is_made_anew_when_a_source_has_changed(project: Path) -> None:
    tree = project / "build" / "compiled"
    made = make(tree, PATH="")
    assert made.returncode == 0, made.stderr
    assert made.stderr.startswith("Nothing is compiled")
    assert len(made.stderr.splitlines()) == 1
    assert (tree / "boardlog" / "lua" / "append.lua").exists()
    assert list(tree.rglob("*.so")) == []
    (tree / "kept").touch()
    assert make(tree, PATH="").stderr == ""
    assert (tree / "kept").exists()
    (project / "relay" / "room.py").write_text("changed = True\n")
    make(tree, PATH="")
    assert (tree / "relay" / "room.py").read_text() == "changed = True\n"
    assert not (tree / "kept").exists()


def test_a_folder_that_is_something_else_is_left_alone(project: Path) -> None:
    (project / "build" / "mine").mkdir(parents=True)
    made = make(project / "build" / "mine")
    assert made.returncode == 1
    assert made.stderr == f"{project / 'build' / 'mine'} was not made here: it is left alone.\n"
