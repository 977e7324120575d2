"""Composition root: makes the parts, joins them, runs them until told to stop."""

import asyncio
import random
import secrets
import socket
import time
from contextlib import suppress
from functools import partial

import structlog
from aiohttp import web
from prometheus_client import Gauge

from boardlog import database
from boardlog import redis as redis_module
from boardlog.access import Access
from boardlog.appender import Appender
from boardlog.audit import audit_forever
from boardlog.folding import Folder
from boardlog.follow import Following
from boardlog.fullness import Fullness
from boardlog.health import health_routes
from boardlog.keys import Keys
from boardlog.leaving import Leaving
from boardlog.log import BoardLog
from boardlog.publisher import Publisher
from boardlog.scripts import Scripts
from boardlog.service import told_to_stop
from boardlog.snapshots import PostgresSnapshots
from boardlog.stream import RedisStreams
from boardlog.tail import Tail
from boardlog.telemetry import METRICS
from bridge.admission import Admission
from bridge.agent_presence import AgentPresence
from bridge.agents import Roster
from bridge.answers import answer_errors, end_when
from bridge.asset_endpoints import Assets
from bridge.asset_store import PostgresAssets
from bridge.endpoints import BODY_BYTES_MAX, Items
from bridge.openapi import documentation_routes
from bridge.replicas import Replicas
from bridge.settings import BridgeSettings
from bridge.writer import Writer

log = structlog.get_logger()

FINISH_SECONDS_MAX = 5.0
"""What requests under way get to finish after SIGTERM; with what follows the process is gone inside 8 s (G10)."""
SHUTDOWN_SECONDS_MAX = 0.25
"""What the server takes for what is left after that, twice: answers that nobody reads."""
FLUSH_SECONDS_MAX = 1.0
"""For changes whose agents were told to try again: Redis may still take them."""
FAREWELL_SECONDS_MAX = 1.0
"""What it may take to tell the relays that the agents are gone; else they find out themselves."""

REPLICAS = Gauge("bridge_replicas", "Boards of which a copy is held", registry=METRICS)


async def serve(settings: BridgeSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way. Raises OSError, FoldFailed if it cannot."""
    listener = socket.create_server((settings.host, settings.port))
    stop = told_to_stop()
    redis = redis_module.connect(settings.redis_url)
    pool = await database.connect(settings.database_url)
    keys = Keys(settings.redis_key_prefix)
    streams = RedisStreams(redis, Scripts(redis), keys)
    board_log = BoardLog(streams, PostgresSnapshots(pool))
    appender, tail, folder = Appender(board_log), Tail(redis), Folder()
    randomness = random.SystemRandom()
    replicas = Replicas(Following(board_log, tail, keys), folder, appender, randomness.getrandbits)
    appender.on_logged = replicas.logged
    fullness = Fullness(streams, settings.redis_memory_bytes_max, appender.hold)
    REPLICAS.set_function(lambda: len(replicas))
    writer, publisher = Writer(replicas, appender, time.monotonic), Publisher(streams)
    roster = Roster(randomness.getrandbits)
    agents = AgentPresence(secrets.token_hex(8), roster, tail, publisher.publish, keys)
    admission, assets = Admission(Access(pool, redis, keys), board_log.snapshots), PostgresAssets(pool)
    items = Items(admission, replicas, writer, assets, agents, randomness.getrandbits)
    checks = {"redis": partial(redis_module.check, redis), "database": partial(database.check, pool)}
    leaving = Leaving()
    app = web.Application(middlewares=[answer_errors, end_when(leaving)], client_max_size=BODY_BYTES_MAX)
    health = health_routes(checks, lambda: {"node": settings.name, "replicas": len(replicas)})
    for routes in (health, items.routes(), Assets(admission, assets).routes(), documentation_routes()):
        app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS_MAX)
    try:
        await folder.warm()  # an agent's first write must not wait for a process to start
        # If one of these ends, the bridge cannot keep its promises: the group ends the process with it.
        async with asyncio.TaskGroup() as tasks:
            audit = audit_forever(replicas.follows, streams)
            work = (appender.run(), tail.run(), publisher.run(), fullness.watch(), audit)
            background = [tasks.create_task(part) for part in work]
            await runner.setup()
            site = web.SockSite(runner, listener)
            await site.start()
            log.info("listening", port=settings.port)
            await stop.wait()
            await site.stop()  # first of all: what comes now goes to another bridge at once
            leaving.end(FINISH_SECONDS_MAX)
            await leaving.ended()
            await runner.cleanup()
            replicas.close()  # which may hand in what a copy held and its log has lost (G4)
            agents.close()
            await _flushed(appender, publisher, streams)
            for task in background:
                task.cancel()
    finally:
        await folder.close()
        await redis.aclose()
        pool.terminate()
    log.info("stopped")


async def _flushed(appender: Appender, publisher: Publisher, streams: RedisStreams) -> None:
    """Wait until all is logged and told that waits, or for as long as there is time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS_MAX):
            await appender.flushed()
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_SECONDS_MAX):
            await asyncio.gather(publisher.flushed(), streams.marking.flushed())
