"""Starting a service: settings from the environment, logs, the event loop; one sentence if it cannot start."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

import uvloop

from boardlog.errors import BoardLogError, InvalidSetting
from boardlog.settings import ServiceSettings, read
from boardlog.telemetry import configure_logs

COLLECT_AFTER = (10_000, 20, 10)
"""After how many more objects were made than freed the youngest are looked through; after how many times that, those
that were there then; and after how many times that, if they have become a quarter more, all."""

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


def settle_memory() -> None:
    """Have the collector of cycles leave alone what is here to stay, and look less often; to be called once all is up.

    With thousands of boards open it took 40 % of a node's time: most of what is allocated is freed without it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def told_to_stop() -> asyncio.Event:
    """Return an event that is set by SIGTERM or SIGINT. From then on both are ignored: leaving has bounds of its own.

    Not only until the loop is closed: what it gave back to the system would end a process that is about to end well.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def told() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    return stop
