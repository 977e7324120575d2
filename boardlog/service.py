"""Starting a service: settings from the environment, logs, the event loop; one sentence if it cannot start."""

import os
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

import uvloop

from boardlog.errors import BoardLogError, InvalidSetting
from boardlog.settings import ServiceSettings, read
from boardlog.telemetry import configure_logs

S = TypeVar("S", bound=ServiceSettings)


def run_service(name: str, settings_type: type[S], serve: Callable[[S], Coroutine[None, None, None]]) -> None:
    """Run `serve` until it returns. Exits with one sentence if it cannot be started: wrong settings, a taken port."""
    try:
        settings = read(settings_type, os.environ)
    except InvalidSetting as error:
        sys.exit(f"{name}: {error}")
    configure_logs(settings.log_level, name, settings.name)
    try:
        uvloop.run(serve(settings))
    except BoardLogError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: cannot listen on port {settings.port}: {error.strerror or error}")
