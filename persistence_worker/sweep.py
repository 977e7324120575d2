"""The sweep: finds boards that nobody marked, by comparing each log's head with its snapshot (L9)."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge

from boardlog.due import DUE_AFTER_MS, Due
from boardlog.errors import BoardLogError, StorageUnavailable
from boardlog.ids import BoardId
from boardlog.snapshots import Snapshots
from boardlog.stream import Streams
from boardlog.telemetry import METRICS
from persistence_worker.outage import Outage

log = structlog.get_logger()

PAGE_BOARDS = 100
"""Boards compared at once, with one query and one pipeline."""
DUE_WATCH_SECONDS = 5.0

CHANGED = Counter("swept_boards_total", "Boards that a sweep found changed and marked as due", registry=METRICS)
DUE = Gauge("boards_due", "Boards in the due set: waiting, being compacted, or to be trimmed later", registry=METRICS)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Looks through all boards that have a log."""

    streams: Streams
    snapshots: Snapshots
    due: Due

    async def run(self) -> int:
        """Mark every board whose snapshot is not at its log's head, unless it is marked; return how many differ.

        Raises StorageUnavailable. It may be cancelled: a mark too many or too few is harmless.
        """
        changed = 0
        page: list[BoardId] = []
        async for board in self.streams.boards():
            page.append(board)
            if len(page) == PAGE_BOARDS:
                changed += await self._compare(page)
                page = []
        return changed + (await self._compare(page) if page else 0)

    async def _compare(self, boards: Sequence[BoardId]) -> int:
        positions = [(summary.board, summary.cursor) for summary in await self.snapshots.summaries(boards)]
        heads = await self.streams.audit(positions)
        changed = [board for (board, cursor), head in zip(positions, heads, strict=True) if head != cursor]
        if changed:
            # With the delay of an append, so that a board which is marked already comes neither sooner nor later.
            await self.due.mark(changed, DUE_AFTER_MS)
        CHANGED.inc(len(changed))
        return len(changed)


async def sweep_forever(sweep: Sweep, seconds: float, jitter: Callable[[float, float], float] = random.uniform) -> None:
    """Sweep about every `seconds`, until cancelled. Several workers do so at different times."""
    outage = Outage("sweeping boards")
    while True:
        await asyncio.sleep(jitter(seconds / 2, seconds * 3 / 2))
        try:
            await sweep.run()
        except StorageUnavailable as error:
            outage.failed(error)
        except BoardLogError as error:
            log.error("sweep_failed", reason=str(error))  # noqa: TRY400  it is no fault of the code
        else:
            outage.worked()


async def watch_due_forever(due: Due) -> None:
    """Keep the metric of waiting boards up to date, until cancelled."""
    while True:
        try:
            DUE.set(await due.waiting())
        except StorageUnavailable:
            DUE.set(float("nan"))
        await asyncio.sleep(DUE_WATCH_SECONDS)
