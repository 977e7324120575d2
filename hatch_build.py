"""Builds what a wheel has beside its Python: the canvas, and shared objects of the modules that messages go through.

An editable install has neither: there `make canvas` builds the canvas, and all modules are plain Python, which is the
fallback and the oracle of the compiled ones. No shared object ever stands in the source tree: Python would run a stale
one in place of an edited module. `python hatch_build.py FOLDER` makes a tree of the packages as they are in a wheel,
for benchmarks and tests, to be put first on PYTHONPATH.
"""

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMANDS = (("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"), ("npm", "run", "build"))
SHARED_NAME = "board_relay"
"""Of the library in which all compiled modules are: `board_relay__mypyc`."""
MADE = ".made"
"""In a tree: what it was made of."""
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
_COMPILE = f"""
import sys
from mypyc.build import mypycify
from setuptools import setup
# The same code whatever else is installed or configured here: types are checked elsewhere, against all of it.
options = ["--config-file=", "--no-site-packages", "--ignore-missing-imports"]
modules = mypycify([*options, *sys.argv[1:]], opt_level="3", debug_level="0", group_name="{SHARED_NAME}")
setup(name="{SHARED_NAME}", packages=[], ext_modules=modules, script_args=["-q", "build_ext", "--build-lib", "built"])
"""


class NotCompiled(Exception):
    """Compiling failed; the compilers have said why."""


class WheelBuildHook(BuildHookInterface[Any]):
    """Runs before a wheel is made; pyproject.toml lists `relay/canvas` among its artifacts, and what is compiled."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build `frontend/` into `relay/canvas`, or take what was built before; then compile."""
        if version == "editable":
            return
        root = Path(self.root)
        frontend = root / "frontend"
        if (frontend / "package.json").exists():
            self._build(frontend)
        if not (root / "relay" / "canvas" / "index.html").exists():
            self.app.abort(
                "There is no canvas to put into the wheel: neither frontend/ nor a built relay/canvas is here."
            )
        self._compile(root, build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what is in the wheel now."""
        if version != "editable":
            self._work.cleanup()

    def _build(self, frontend: Path) -> None:
        try:
            for command in COMMANDS:
                subprocess.run(command, cwd=frontend, check=True)  # noqa: S603  our own, constant commands
        except FileNotFoundError:
            self.app.abort("Building the canvas needs Node 20 with npm. An editable install needs neither.")
        except subprocess.CalledProcessError as error:
            self.app.abort(f"The canvas could not be built: `{' '.join(error.cmd)}` ended with {error.returncode}.")

    def _compile(self, root: Path, build_data: dict[str, Any]) -> None:
        self._work = TemporaryDirectory(prefix="board-relay-")
        try:
            built = compile_modules(root, Path(self._work.name))
        except NotCompiled as error:
            self.app.abort(str(error))
        if built is not None:
            build_data["force_include"].update({str(file): str(file.relative_to(built)) for file in _files(built)})
            build_data.update(pure_python=False, infer_tag=True)


def compile_modules(root: Path, work: Path) -> Path | None:
    """Compile in `work`, an empty folder; return the folder in it where the shared objects are, placed as in a wheel.

    Return None where something is missing for it, and say so on standard error. Raises NotCompiled.
    """
    lacking = missing()
    if lacking:
        sys.stderr.write(
            f"Nothing is compiled, all modules are plain Python, which is slower: there is no {lacking}.\n"
        )
        return None
    hatch = _hatch(root)
    for package in hatch["packages"]:
        shutil.copytree(root / package, work / package, ignore=shutil.ignore_patterns("__pycache__", "canvas"))
    command = [sys.executable, "-c", _COMPILE, *hatch["hooks"]["custom"]["compiled"]]
    done = subprocess.run(  # noqa: S603  our own command on our own files
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise NotCompiled(f"The modules could not be compiled: mypyc ended with {done.returncode}.")
    return work / "built"


def make_tree(root: Path, folder: Path) -> None:
    """Make `folder` a copy of the packages with the shared objects among them, unless it is one of just these sources.

    Raises NotCompiled; ValueError if the folder is something else.
    """
    made_of = _fingerprint(root)
    if (folder / MADE).exists():
        if (folder / MADE).read_text() == made_of:
            return
    elif folder.exists():
        raise ValueError(f"{folder} was not made here: it is left alone.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-") as parent, TemporaryDirectory() as work:
        tree = Path(parent) / "tree"
        for package in _hatch(root)["packages"]:
            shutil.copytree(root / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
        built = compile_modules(root, Path(work))
        if built is not None:
            shutil.copytree(built, tree, dirs_exist_ok=True)
        (tree / MADE).write_text(made_of)
        if folder.exists():
            folder.rename(Path(parent) / "old")
        tree.rename(folder)


def missing() -> str | None:
    """Return what it takes to compile and is not here, None if all of it is."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if not all(map(importlib.util.find_spec, ("mypyc", "setuptools"))):
        return "mypyc with setuptools"
    if shutil.which(compiler) is None:
        return f"C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "header of Python's (Python.h)"
    return None


def _fingerprint(root: Path) -> str:
    """Return what tells a tree of these sources, compiled by these tools, from any other."""
    digest = hashlib.sha256(f"{sys.version} {_SUFFIX} {missing() or version('mypy')}".encode())
    packages = _hatch(root)["packages"]
    for file in (
        root / "hatch_build.py",
        root / "pyproject.toml",
        *(f for name in packages for f in _files(root / name)),
    ):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and "__pycache__" not in file.parts)


def _hatch(root: Path) -> dict[str, Any]:
    """Return what pyproject.toml says of the wheel."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    wheel: dict[str, Any] = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    return wheel


if __name__ == "__main__":
    try:
        make_tree(Path(__file__).resolve().parent, Path(sys.argv[1]))
    except (NotCompiled, ValueError) as told:
        sys.exit(str(told))
