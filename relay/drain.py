"""Leaving: refuse joins, close sockets spread over some seconds, flush what was read (G10)."""

import asyncio

import structlog

from boardlog.appender import Appender
from relay.endpoints import Doors
from relay.session import CloseCode

log = structlog.get_logger()

FLUSH_SECONDS_MAX = 2.0
"""For close frames to be taken, and updates by Redis. What is not is still held by its authors."""


async def drain(doors: Doors, appender: Appender, seconds: float) -> None:
    """Close every socket with 1012, spread over `seconds` because clients reconnect without jitter; then flush."""
    doors.draining = True
    connections = list(doors.connections)
    log.info("draining", connections=len(connections), seconds=seconds)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for index, connection in enumerate(connections):
        due = began + seconds * index / len(connections)
        if due > loop.time():
            await asyncio.sleep(due - loop.time())
        connection.close(CloseCode.GOING_AWAY, "This node is shutting down: another one takes over.")
    try:
        async with asyncio.timeout(FLUSH_SECONDS_MAX):
            await asyncio.gather(*(connection.closed() for connection in connections))
            await appender.flushed()
    except TimeoutError:
        log.warning("drain_not_flushed", waiting_bytes=appender.waiting_bytes)
