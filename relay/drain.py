"""Leaving: refuse joins, close sockets spread over some seconds, flush what was read (G10)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from boardlog.appender import Appender
from relay.connection import Connection
from relay.endpoints import Doors
from relay.forward import BridgeForward
from relay.hub import Hub
from relay.session import CloseCode

log = structlog.get_logger()

FAREWELL_SECONDS_MAX = 1.0
"""For the last close frames to be taken and answered. Who has not answered by then is cut off."""
FLUSH_SECONDS_MAX = 1.0
"""For updates to be taken by Redis. What is not is still held by its authors."""


@dataclass(frozen=True, slots=True)
class Leavers:
    """Whatever has to end in good order when a node leaves."""

    doors: Doors
    forward: BridgeForward | None
    hub: Hub
    appender: Appender
    flush_marks: Callable[[], Awaitable[None]]
    """Marks boards due that were changed and are still to be marked (L9)."""


async def drain(leavers: Leavers, seconds: float) -> None:
    """Close every socket with 1012, spread over `seconds` because clients reconnect without jitter; then flush.

    Returns at most FAREWELL_SECONDS_MAX + FLUSH_SECONDS_MAX later than that, whatever clients, Redis or bridge do.
    """
    doors = leavers.doors
    connections = list(doors.connections)
    log.info("draining", connections=len(connections), seconds=seconds)
    doors.leave(seconds)
    if leavers.forward is not None:
        leavers.forward.leave(seconds)
    began = asyncio.get_running_loop().time()
    await _close(connections, seconds)
    try:
        async with asyncio.timeout_at(began + seconds + FAREWELL_SECONDS_MAX):
            await doors.left()
            if leavers.forward is not None:
                await leavers.forward.left()
            await asyncio.gather(*(connection.closed() for connection in connections))
    except TimeoutError:
        for connection in connections:
            connection.cut()
    try:
        async with asyncio.timeout(FLUSH_SECONDS_MAX):
            # In this order: a room that closes may hand in what only it still holds.
            await leavers.hub.close()
            await leavers.appender.flushed()
            await leavers.flush_marks()
    except TimeoutError:
        log.warning("drain_not_flushed", waiting_bytes=leavers.appender.waiting_bytes)


async def _close(connections: list[Connection], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for index, connection in enumerate(connections):
        due = began + seconds * index / len(connections)
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        connection.close(CloseCode.GOING_AWAY, "This node is shutting down: another one takes over.")
