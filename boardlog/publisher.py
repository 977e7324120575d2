"""Sends presence to the other processes: a turn of the loop's messages in one pipeline, in nobody's way."""

import asyncio
from collections import deque

import structlog

from boardlog.errors import StorageUnavailable
from boardlog.ids import BoardId
from boardlog.stream import Streams

log = structlog.get_logger()

WAITING_MESSAGES_MAX = 10_000
"""Beyond it the oldest are dropped: clients renew their presence every 15 s."""
MESSAGES_PER_PIPELINE_MAX = 500


class Publisher:
    """One queue for all boards of a process."""

    def __init__(self, streams: Streams) -> None:
        """Publish through `streams` once `run` is started."""
        self._streams = streams
        self._waiting: deque[tuple[BoardId, bytes]] = deque(maxlen=WAITING_MESSAGES_MAX)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def publish(self, board: BoardId, message: bytes) -> None:
        """Queue a message. Synchronous."""
        self._waiting.append((board, message))
        self._idle.clear()
        self._wake.set()

    async def flushed(self) -> None:
        """Wait until nothing waits any more, published or lost. Cancel-safe."""
        await self._idle.wait()

    async def run(self) -> None:
        """Publish until cancelled. What Redis does not take is lost, as presence may be."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                count = min(len(self._waiting), MESSAGES_PER_PIPELINE_MAX)
                try:
                    await self._streams.publish_presence([self._waiting.popleft() for _ in range(count)])
                except StorageUnavailable as error:
                    log.warning("presence_not_published", messages=count, reason=str(error))
            self._idle.set()
