"""Chromium for the end-to-end tests: the one that is there, else Debian's package where it can be installed.

`python tests/e2e/chromium.py`, which `make test` runs first, installs what is missing and never fails: without a
browser the tests say so themselves.
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL_SECONDS_MAX = 600.0
MISSING = (
    "These tests need Chromium: install Debian's package `chromium` (as root `make test` does it by itself), "
    "or name a browser's program in CHROMIUM."
)


def find() -> str | None:
    """Return the program to run: what CHROMIUM names, else the first of the usual names that is installed."""
    if named := os.environ.get("CHROMIUM"):
        return shutil.which(named)
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def arguments() -> list[str]:
    """Return the flags that keep the browser to itself: no graphics card, nothing that it fetches of its own accord."""
    quiet = [
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    return ["--no-sandbox", *quiet] if os.geteuid() == 0 else quiet  # root has no user to drop to


def install() -> None:
    """Install Debian's package. Raises OSError or subprocess.SubprocessError."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        subprocess.run(
            ["apt-get", *command], check=True, env=environment, stdout=subprocess.DEVNULL, timeout=INSTALL_SECONDS_MAX
        )


def main() -> None:
    if find() is not None:
        return
    if not os.environ.get("CHROMIUM") and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stderr.write("Installing Debian's chromium for the end-to-end tests.\n")
        try:
            install()
        except (OSError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"It could not be installed: {error}\n")
    if find() is None:
        sys.stderr.write(f"{MISSING}\n")


if __name__ == "__main__":
    main()
