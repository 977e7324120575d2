"""Composition root: makes the parts, joins them, runs them until told to stop."""

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import structlog
from aiohttp import web

from boardlog import database
from boardlog import redis as redis_module
from boardlog.access import Access
from boardlog.appender import Appender
from boardlog.audit import audit_forever
from boardlog.due import RedisDue
from boardlog.folding import Folder
from boardlog.follow import Following
from boardlog.fullness import Fullness
from boardlog.health import health_routes
from boardlog.keys import Keys
from boardlog.log import BoardLog
from boardlog.publisher import Publisher
from boardlog.redis import Scripts
from boardlog.snapshots import PostgresSnapshots
from boardlog.stream import RedisStreams
from boardlog.tail import Tail
from relay.connection import Connection
from relay.drain import drain
from relay.endpoints import Doors
from relay.forward import BridgeForward
from relay.hub import Hub
from relay.pages import BUILT, Pages
from relay.settings import RelaySettings

log = structlog.get_logger()

KEEP_ALIVE_CHECK_SECONDS = 5.0
BACKLOG = 1024
"""Connections that may wait to be accepted: all of a dead node's clients come at once."""
SHUTDOWN_SECONDS_MAX = 1.0
"""What the HTTP server may take once every socket has been closed: the node must be gone inside 9 s (G10)."""


async def serve(settings: RelaySettings) -> None:
    """Run a node until SIGTERM or SIGINT, then drain it and return. Raises OSError if the port is taken."""
    listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _running(settings, listener) as (site, doors, appender):
        await stop.wait()
        await site.stop()  # first of all: what comes now goes to another node at once
        await drain(doors, appender, settings.drain_seconds)
    log.info("stopped")


@asynccontextmanager
async def _running(
    settings: RelaySettings, listener: socket.socket
) -> AsyncIterator[tuple[web.BaseSite, Doors, Appender]]:
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
    folder = Folder(processes_max=1)
    following, due = Following(board_log, tail, keys), RedisDue(redis, scripts, keys)
    hub = Hub(secrets.token_hex(8), following, due, folder, publisher, appender)
    appender.on_logged = hub.logged
    doors = Doors(settings, Access(pool, redis, keys), hub, appender, snapshots)
    checks = {"redis": partial(redis_module.check, redis), "database": partial(database.check, pool)}
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
                    _keep_alive_forever(lambda: list(doors.connections)),
                )
            ]
            runner = web.AppRunner(
                _routes(settings, doors, checks, client, Pages(BUILT)),
                access_log=None,
                shutdown_timeout=SHUTDOWN_SECONDS_MAX,
            )
            await runner.setup()
            try:
                site = web.SockSite(runner, listener)
                await site.start()
                log.info("listening", port=settings.port)
                yield site, doors, appender
            finally:
                await runner.cleanup()
                await hub.close()
                for task in background:
                    task.cancel()
    finally:
        await folder.close()
        await redis.aclose()
        pool.terminate()


def _routes(
    settings: RelaySettings,
    doors: Doors,
    checks: Mapping[str, Callable[[], Awaitable[None]]],
    client: aiohttp.ClientSession,
    pages: Pages,
) -> web.Application:
    app = web.Application()
    app.add_routes(health_routes(checks, doors.describe))
    app.add_routes(pages.routes())
    app.router.add_get("/ws/{board}", doors.websocket)
    if settings.bridge_url:
        app.router.add_route("*", "/v1/{path:.*}", BridgeForward(settings.bridge_url, client).handle)
    # The phase document's clients connect to `/{board}`: the same thing.
    app.router.add_get("/{board}", doors.websocket)
    return app


async def _keep_alive_forever(connections: Callable[[], list[Connection]]) -> None:
    while True:
        await asyncio.sleep(KEEP_ALIVE_CHECK_SECONDS)
        for connection in connections():
            connection.keep_alive()
