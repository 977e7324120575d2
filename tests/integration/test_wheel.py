"""The wheel has the canvas and compiled modules in it, so that its users need no Node and no compiler."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from hatch_build import missing

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 90
BUILT = {"relay/canvas/index.html", "relay/canvas/canvas/index-1.js"}
VITE = """
import { mkdirSync, writeFileSync } from 'node:fs'
mkdirSync('../relay/canvas/canvas', { recursive: true })
writeFileSync('../relay/canvas/index.html', 'page')
writeFileSync('../relay/canvas/canvas/index-1.js', 'script')
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a wheel is made of, with a small canvas in place of ours, and one module to be compiled in place of all."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    described = (tmp_path / "pyproject.toml").read_text("utf-8")
    one = re.sub(r"^compiled = \[.*?\]$", 'compiled = ["boardlog/ids.py"]', described, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "pyproject.toml").write_text(one, "utf-8")
    for package in ("boardlog", "relay", "bridge", "persistence_worker", "boardctl"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "canvas"))
    frontend = tmp_path / "frontend"
    frontend.mkdir()
    named = {"name": "canvas", "version": "1.0.0", "private": True}
    locked = {**named, "lockfileVersion": 3, "requires": True, "packages": {"": named}}
    (frontend / "package.json").write_text(json.dumps({**named, "scripts": {"build": "node vite.mjs"}}))
    (frontend / "package-lock.json").write_text(json.dumps(locked))
    (frontend / "vite.mjs").write_text(VITE)
    return tmp_path


def build(project: Path, target: str = "wheel", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", "dist"],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def names_in_wheel(project: Path) -> set[str]:
    (wheel,) = (project / "dist").glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_a_wheel_has_the_canvas_in_it_though_git_ignores_it(project: Path) -> None:
    made = build(project)
    assert made.returncode == 0, made.stdout
    names = names_in_wheel(project)
    assert names >= BUILT | {"relay/pages.py"}
    assert not any(name.startswith("frontend") for name in names)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    compiled = {f"board_relay__mypyc{suffix}", f"boardlog/ids{suffix}"} if missing() is None else set()
    assert {name for name in names if name.endswith(suffix)} == compiled
    assert "boardlog/ids.py" in names, "for tracebacks"
    assert not list(project.rglob(f"boardlog/*{suffix}")), "beside a source it would be run when that has changed"


def test_a_canvas_that_was_built_elsewhere_is_taken_as_it_is(project: Path) -> None:
    """As in the image, whose Python stage has no Node; without a compiler, which that one has, the wheel is plain."""
    subprocess.run(["node", "vite.mjs"], cwd=project / "frontend", check=True)
    shutil.rmtree(project / "frontend")
    made = build(project, PATH="")
    assert made.returncode == 0, made.stdout
    assert "Nothing is compiled" in made.stdout
    assert names_in_wheel(project) >= BUILT
    assert [wheel.name for wheel in project.glob("dist/*.whl")] == ["board_relay-0.1.0-py3-none-any.whl"]


def test_an_editable_install_needs_no_node(project: Path) -> None:
    made = build(project, "wheel:editable", PATH="")
    assert made.returncode == 0, made.stdout
    assert not (project / "relay" / "canvas").exists()


@pytest.mark.parametrize("missing", ["npm", "canvas", "build"])
def test_a_wheel_without_a_canvas_is_not_made_and_the_reason_is_told(project: Path, missing: str) -> None:
    environment, reason = {}, "ended with 1"
    if missing == "npm":
        environment, reason = {"PATH": ""}, "needs Node 20"
    elif missing == "canvas":
        shutil.rmtree(project / "frontend")
        reason = "no canvas to put into the wheel"
    else:
        (project / "frontend" / "vite.mjs").write_text("process.exit(1)")
    made = build(project, **environment)
    assert made.returncode != 0
    assert reason in made.stdout
    assert "Traceback" not in made.stdout
    assert not list(project.glob("dist/*.whl"))
