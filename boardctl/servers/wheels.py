"""Finding the servers' programs in their wheels, and a port for them."""

import socket
from importlib.util import find_spec
from pathlib import Path

from boardctl.errors import CannotStart


def program_in(package: str, path: str, instead: str) -> Path:
    """Return the program at `path` in an installed package, whose own Python code is not imported.

    Raises CannotStart if it is not there; `instead` is the option that makes it unnecessary.
    """
    spec = find_spec(package)
    for location in (spec and spec.submodule_search_locations) or []:
        program = Path(location).joinpath(path).resolve()
        if program.is_file():
            return program
    raise CannotStart(
        f"{Path(path).name} is not installed: run `pip install 'board-relay[embedded]'`, or pass {instead} to use "
        "a server of your own."
    )


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
