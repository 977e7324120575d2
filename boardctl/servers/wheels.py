"""Finding the servers' programs in their wheels, and a port for them."""

import secrets
import socket
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from boardctl.errors import CannotStart

PORTS = range(20_000, 32_000)


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


_GIVEN: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment, and that this process was not given before.

    Whoever was given one may not listen yet. Below those that the kernel gives to outgoing connections, or one of them
    could take it before it is listened on.
    """
    while True:
        port = secrets.choice(PORTS)
        if port in _GIVEN:
            continue
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if len(_GIVEN) > len(PORTS) // 2:
                _GIVEN.clear()
            _GIVEN.add(port)
            return port
