"""How full the logs' memory is: an alarm first, then appends are held back until boards are compacted (G5).

While PostgreSQL is away nothing can be folded, and so nothing trimmed: the logs grow. At its `maxmemory` Redis refuses
every append of every board, and without one the kernel ends it. So we stop well below, each process by its own look.
"""

import asyncio
import random
from collections.abc import Callable
from enum import IntEnum

import structlog
from prometheus_client import Gauge

from boardlog.errors import StorageUnavailable
from boardlog.stream import Memory, Streams
from boardlog.telemetry import METRICS

log = structlog.get_logger()

WATCH_SECONDS = 2.0
"""Between two looks, more or less by half: what nodes append meanwhile has to fit above the limit."""
LIMIT_SHARE = 0.8
"""Of Redis' `maxmemory`. The rest is for what is on its way when appends are held back, and for reading the logs."""
LIMIT_BYTES_WITHOUT_MAX = 1024 * 1024 * 1024
"""The limit where Redis has no `maxmemory`: about 2 million edits, and no more than the smallest server has."""
ALARM_SHARE = 0.7
"""Of the limit, as all that follow. From here on an operator is told, and workers free what they can."""
CALM_SHARE = 0.6
"""The alarm ends below this."""
GO_ON_SHARE = 0.9
"""Appends that were held back go on below this, and not at the limit: they would be held back again at once."""

USED = Gauge("log_memory_used_bytes", "Memory used by the fullest server of the logs", registry=METRICS)
LIMIT = Gauge("log_memory_limit_bytes", "Where appends are held back", registry=METRICS)


class Level(IntEnum):
    """What follows from how full it is."""

    CALM = 0
    ALARM = 1
    FULL = 2


def limit_bytes(memory: Memory, bytes_max: int) -> int:
    """Return where appends are held back: at `bytes_max` if it is set, but never above what Redis takes."""
    if bytes_max > 0:
        return min(bytes_max, memory.max_bytes or bytes_max)
    return int(memory.max_bytes * LIMIT_SHARE) or LIMIT_BYTES_WITHOUT_MAX


def next_level(level: Level, share: float) -> Level:
    """Return the level at this share of the limit, coming from `level`: each is left later than it is entered."""
    if share >= (GO_ON_SHARE if level is Level.FULL else 1.0):
        return Level.FULL
    if share >= (ALARM_SHARE if level is Level.CALM else CALM_SHARE):
        return Level.ALARM
    return Level.CALM


class Fullness:
    """Watches the memory for one process."""

    def __init__(
        self, streams: Streams, bytes_max: int, on_full: Callable[[bool], None] = lambda _is_full: None
    ) -> None:
        """Hold the memory against `bytes_max` (`limit_bytes`). `on_full` hears when the logs are full and when not."""
        self.level = Level.CALM
        self._streams = streams
        self._bytes_max = bytes_max
        self._on_full = on_full

    @property
    def is_scarce(self) -> bool:
        """Whether memory should be freed soon."""
        return self.level > Level.CALM

    async def watch(self, jitter: Callable[[float, float], float] = random.uniform) -> None:
        """Look at once and then about every WATCH_SECONDS, until cancelled. What was seen last holds till the next."""
        is_known = True
        while True:
            try:
                self.saw(await self._streams.memory())
                is_known = True
            except StorageUnavailable as error:
                if is_known:
                    log.warning("log_memory_unknown", reason=str(error))
                is_known = False
            await asyncio.sleep(jitter(WATCH_SECONDS / 2, WATCH_SECONDS * 3 / 2))

    def saw(self, memory: Memory) -> None:
        """Take a look's answer; tell once of each change."""
        limit = limit_bytes(memory, self._bytes_max)
        USED.set(memory.used_bytes)
        LIMIT.set(limit)
        before, self.level = self.level, next_level(self.level, memory.used_bytes / limit)
        if self.level is before:
            return
        told = {"used_bytes": memory.used_bytes, "limit_bytes": limit}
        if self.level is Level.FULL:
            log.error("log_full", reason="Appends are held back until workers have compacted boards.", **told)
        elif self.level > before:
            log.warning("log_filling", reason="See whether PostgreSQL and the workers are well.", **told)
        else:
            log.info("log_has_room" if before is Level.FULL else "log_calm", **told)
        if Level.FULL in (before, self.level):
            self._on_full(self.level is Level.FULL)
