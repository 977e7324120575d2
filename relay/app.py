"""Composition root: makes the parts, joins them, runs them until told to stop."""

import asyncio
import math
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import structlog
from aiohttp import web

from boardlog import database
from boardlog import redis as redis_module
from boardlog.access import Access
from boardlog.appender import Appender
from boardlog.arrivals import Arrivals
from boardlog.audit import audit_forever
from boardlog.due import RedisDue
from boardlog.folding import Folder
from boardlog.follow import Following
from boardlog.fullness import Fullness
from boardlog.health import health_routes
from boardlog.keys import Keys
from boardlog.log import BoardLog
from boardlog.publisher import Publisher
from boardlog.scripts import Scripts
from boardlog.service import settle_memory, told_to_stop
from boardlog.snapshots import PostgresSnapshots
from boardlog.stream import RedisStreams
from boardlog.tail import Tail
from boardlog.validating import Validator
from relay.connection import Connection
from relay.drain import Leavers, drain
from relay.endpoints import Doors
from relay.forward import BridgeForward
from relay.hub import Hub
from relay.pages import BUILT, Pages
from relay.settings import RelaySettings

log = structlog.get_logger()

LOOK_AFTER_SECONDS = 2.0
"""Every connection is looked after once in this time, some at a time: so that none of it is a burst."""
LOOK_AFTER_AT_ONCE = 100
BACKLOG = 1024
"""Connections that may wait to be accepted: all of a dead node's clients come at once."""
UNSENT_BYTES_MAX = 128 * 1024
"""What the kernel takes for a client that does not read; it would take 4 MiB (G7). How fast a client can be stays."""
SHUTDOWN_SECONDS_MAX = 0.25
"""What requests that are still under way get once every socket has been closed, twice: to end, and being cancelled."""


async def serve(settings: RelaySettings) -> None:
    """Run a node until SIGTERM or SIGINT, then drain it and return. Raises OSError if the port is taken."""
    listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES_MAX)  # accepted sockets inherit it
    stop = told_to_stop()
    async with _running(settings, listener) as (server, leavers):
        await stop.wait()
        server.close()  # first of all: what comes now goes to another node at once
        await drain(leavers, settings.drain_seconds)
    log.info("stopped")


@asynccontextmanager
async def _running(
    settings: RelaySettings, listener: socket.socket
) -> AsyncIterator[tuple[asyncio.AbstractServer, Leavers]]:
    redis = redis_module.connect(settings.redis_url)
    pool = await database.connect(settings.database_url)
    keys = Keys(settings.redis_key_prefix)
    scripts = Scripts(redis)
    streams = RedisStreams(redis, scripts, keys)
    snapshots = PostgresSnapshots(pool)
    board_log = BoardLog(streams, snapshots)
    appender = Appender(board_log)
    fullness = Fullness(streams, settings.redis_memory_bytes_max, appender.hold)
    tail = Tail(redis)
    publisher = Publisher(streams)
    folder, validator = Folder(), Validator()
    following, due = Following(board_log, tail, keys), RedisDue(redis, scripts, keys)
    hub = Hub(secrets.token_hex(8), following, due, folder, publisher, appender)
    appender.on_logged = hub.logged
    doors = Doors(settings, Access(pool, redis, keys), hub, appender, validator, snapshots)
    checks = {"redis": partial(redis_module.check, redis), "database": partial(database.check, pool)}
    arrivals = Arrivals()
    try:
        # If one of these ends, the node cannot keep its promises: the group ends the process with it.
        async with asyncio.TaskGroup() as tasks, aiohttp.ClientSession(auto_decompress=False) as client:
            background = [
                tasks.create_task(work)
                for work in (
                    appender.run(),
                    tail.run(),
                    publisher.run(),
                    fullness.watch(),
                    audit_forever(hub.follows, streams),
                    _look_after_forever(lambda: list(doors.connections)),
                )
            ]
            forward = BridgeForward(settings.bridge_url, client) if settings.bridge_url else None
            runner = web.AppRunner(
                _routes(doors, checks, forward, Pages(BUILT), arrivals),
                access_log=None,
                shutdown_timeout=SHUTDOWN_SECONDS_MAX,
            )
            await runner.setup()
            try:
                # Not a SockSite: it has no say in what a connection is, and a backlog of its own.
                server = await asyncio.get_running_loop().create_server(
                    arrivals.watched(runner), sock=listener, backlog=BACKLOG
                )
                settle_memory()
                log.info("listening", port=settings.port)
                yield server, Leavers(doors, forward, hub, appender, streams.marking.flushed)
            finally:
                await runner.cleanup()
                await hub.close()
                for task in background:
                    task.cancel()
    finally:
        await folder.close()
        await validator.close()
        await redis.aclose()
        pool.terminate()


def _routes(
    doors: Doors,
    checks: Mapping[str, Callable[[], Awaitable[None]]],
    forward: BridgeForward | None,
    pages: Pages,
    arrivals: Arrivals,
) -> web.Application:
    app = web.Application(middlewares=[arrivals.middleware])
    app.add_routes(health_routes(checks, doors.describe))
    app.add_routes(pages.routes())
    app.router.add_get("/ws/{board}", doors.websocket)
    if forward is not None:
        app.router.add_route("*", "/v1/{path:.*}", forward.handle)
    # The phase document's clients connect to `/{board}`: the same thing.
    app.router.add_get("/{board}", doors.websocket)
    return app


async def _look_after_forever(connections: Callable[[], Sequence[Connection]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        everyone = connections()
        pauses = max(1, math.ceil(len(everyone) / LOOK_AFTER_AT_ONCE))
        for number in range(pauses):
            for connection in everyone[number::pauses]:
                connection.look_after(loop.time())
            await asyncio.sleep(LOOK_AFTER_SECONDS / pauses)
