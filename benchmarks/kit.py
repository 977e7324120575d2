"""Our relay as a server of the side-by-side kit: `run.py --plugin benchmarks/kit.py --servers ours,…`.

The whole system as `boardctl up` runs it, fresh for every part of a workload: two relays, a bridge, a worker, Valkey
with its append-only file synced every second, PostgreSQL. The kit runs this file in an environment of its own, so it
imports nothing of ours; it needs `make` to have made ours (docs/performance.md).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import servers  # the kit's own

PROJECT = Path(__file__).resolve().parent.parent
PYTHON = PROJECT / ".venv" / "bin" / "python"
BOARDCTL = [str(PYTHON), "-P", "-m", "boardctl.main"]
TREE = PROJECT / "build" / "compiled"
"""The packages as they are in a wheel: what is measured is what is deployed."""
START_SECONDS_MAX = 60
SERVED = {"server": ("relay-0", "relay-1"), "redis": ("redis",)}
"""The kit's roles; all others are reported beside them under their own names."""


class Ours(servers.Server):
    """Two nodes, everything that stands behind them running."""

    nodes = 2
    adapter = "y"

    def install(self) -> None:
        """Make the tree anew if a source has changed."""
        subprocess.run([str(PYTHON), str(PROJECT / "hatch_build.py"), str(TREE)], check=True)

    def start(self) -> servers.Running:
        """Start all of it on core 0, as the kit's own servers are."""
        running = _Running()
        ready_file = running.data / "ready.json"
        up = running.spawn(
            "boardctl",
            [
                *BOARDCTL,
                "up",
                "--port",
                str(_base_port()),
                "--data",
                str(running.data / "data"),
                "--ready-file",
                str(ready_file),
            ],
            env={"LOG_LEVEL": "WARNING", "PYTHONPATH": str(TREE)},
            cwd=str(running.data),
            log=str(Path(self.scratch) / "ours.log"),
        )
        ready = _ready(ready_file, up)
        _tell_whether_compiled(ready["pids"]["relay-0"])
        running.pids = {}
        for role, names in SERVED.items():
            running.pids[role] = [ready["pids"][name] for name in names]
        for name in ready["pids"].keys() - {name for names in SERVED.values() for name in names}:
            running.pids[name] = [ready["pids"][name]]
        key = _key_for_every_board(ready)
        running.urls = [f"ws{relay.removeprefix('http')}/ws/{{board}}?apiKey={key}" for relay in ready["relays"]]
        return running


class _Running(servers.Running):
    """A running system and the folder that it keeps its data in."""

    def __init__(self) -> None:
        super().__init__("y")
        # Not inside a private folder: as root, PostgreSQL runs as another user and must reach its data.
        self.data = Path(tempfile.mkdtemp(prefix="board-relay-bench-"))
        self.data.chmod(0o755)

    def stop(self) -> None:
        super().stop()
        shutil.rmtree(self.data, ignore_errors=True)


def _base_port() -> int:
    """Return a port with the nine behind it, the bridge's and the worker's free."""
    while True:
        first = servers.free_port()
        try:
            for port in (first + 1, first + 10, first + 20):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


def _ready(path: Path, up: subprocess.Popen) -> dict:
    ends_at = time.monotonic() + START_SECONDS_MAX
    while not path.exists():
        if up.poll() is not None or time.monotonic() > ends_at:
            raise RuntimeError("the system did not start: see ours.log in the kit's scratch folder")
        time.sleep(0.05)
    return json.loads(path.read_text())


def _tell_whether_compiled(pid: int) -> None:
    """Say on standard error what the node runs: shared objects of the tree are mapped, files of Python's only read."""
    compiled = f"{TREE}/" in Path(f"/proc/{pid}/maps").read_text()
    sys.stderr.write(json.dumps({"ours": {"compiled": compiled}}) + "\n")


def _key_for_every_board(ready: dict) -> str:
    made = subprocess.run(
        [*BOARDCTL, "key", "create", "*", "--json"],
        env={**os.environ, "DATABASE_URL": ready["database_url"], "REDIS_URL": ready["redis_url"]},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(made.stdout)["api_key"]


SERVERS = {"ours": Ours}
