"""Validating large updates in processes of their own: Python takes seconds for what may be a whole board (G6, G7)."""

import asyncio

from prometheus_client import Gauge

from boardlog import work_process
from boardlog.children import Children, Interrupted, NoProcess, WorkFailed
from boardlog.errors import BoardLogError, InvalidUpdate
from boardlog.links import Ranges
from boardlog.telemetry import METRICS

PROCESSES_MAX = 2
LARGE_BYTES = 1024 * 1024
"""Updates from this size on leave one process to those that are smaller: a whole board takes many seconds."""
VALIDATE_SECONDS_MAX = 60.0
"""What one update may compute: the dearest that may be takes about 15 s on a slow core."""
WAITING_BYTES_MAX = 192 * 1024 * 1024
"""What may wait or be under way at a time on this node, three whole boards; beyond it clients are told to come back."""

WAITING = Gauge("validating_bytes", "Bytes of updates that are being validated or wait for it", registry=METRICS)


class NotValidated(BoardLogError):
    """An update was not judged, through no fault of its own: to be sent again."""


class Validator:
    """Validates in processes that are started when they are first needed. Make and use it on one event loop."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._children = Children(PROCESSES_MAX)
        self._large = asyncio.Semaphore(PROCESSES_MAX - 1)
        self._bytes = 0
        WAITING.set_function(lambda: self._bytes)

    async def validate(self, update: bytes) -> Ranges | None:
        """Do what `update.validate` does; None for ranges that are too many to be compared on an event loop.

        Raises InvalidUpdate, NotValidated. Cancelled, it ends its process.
        """
        if self._bytes + len(update) > WAITING_BYTES_MAX:
            raise NotValidated("This server has too many large changes to look through just now: try again.")
        self._bytes += len(update)
        try:
            if len(update) < LARGE_BYTES:
                return await self._validate(update)
            async with self._large:
                return await self._validate(update)
        finally:
            self._bytes -= len(update)

    async def close(self) -> None:
        """End the processes that wait for work."""
        await self._children.close()

    async def _validate(self, update: bytes) -> Ranges | None:
        try:
            structs, deletes = await self._children.do(work_process.VALIDATE, VALIDATE_SECONDS_MAX, update)
        except WorkFailed as error:
            raise InvalidUpdate(str(error)) from error
        except (Interrupted, NoProcess) as error:
            raise NotValidated("Looking through this change was interrupted: try again.") from error
        return None if structs is None else Ranges.of_flat(structs, deletes)
