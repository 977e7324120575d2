"""Builds the canvas into the wheel, so that whoever installs it needs no Node.

Editable installs are left alone: there `make canvas` builds it, and the relay serves it from the same folder.
"""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMANDS = (("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"), ("npm", "run", "build"))


class CanvasBuildHook(BuildHookInterface[Any]):
    """Runs before a wheel is made; pyproject.toml lists `relay/canvas` among its artifacts."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Build `frontend/` into `relay/canvas`; without it, take what was built before."""
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

    def _build(self, frontend: Path) -> None:
        try:
            for command in COMMANDS:
                subprocess.run(command, cwd=frontend, check=True)  # noqa: S603  our own, constant commands
        except FileNotFoundError:
            self.app.abort("Building the canvas needs Node 20 with npm. An editable install needs neither.")
        except subprocess.CalledProcessError as error:
            self.app.abort(f"The canvas could not be built: `{' '.join(error.cmd)}` ended with {error.returncode}.")
