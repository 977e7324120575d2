"""Composition root: makes the parts, joins them, runs them until told to stop."""

import asyncio
import random
import secrets
import signal
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
from boardlog.log import BoardLog
from boardlog.publisher import Publisher
from boardlog.redis import Scripts
from boardlog.snapshots import PostgresSnapshots
from boardlog.stream import RedisStreams
from boardlog.tail import Tail
from boardlog.telemetry import METRICS
from bridge.admission import Admission
from bridge.agent_presence import AgentPresence
from bridge.agents import Roster
from bridge.answers import answer_errors
from bridge.asset_endpoints import Assets
from bridge.asset_store import PostgresAssets
from bridge.endpoints import BODY_BYTES_MAX, Items
from bridge.openapi import documentation_routes
from bridge.replicas import Replicas
from bridge.settings import BridgeSettings
from bridge.writer import Writer

log = structlog.get_logger()

FINISH_SECONDS_MAX = 6.0
"""What requests under way get to finish after SIGTERM; the process is gone inside 9 s (G10)."""

FAREWELL_SECONDS_MAX = 1.0
"""What it may take to tell the relays that the agents are gone; else they find out themselves."""

REPLICAS = Gauge("bridge_replicas", "Boards of which a copy is held", registry=METRICS)


async def serve(settings: BridgeSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way. Raises OSError if the port is taken."""
    listener = socket.create_server((settings.host, settings.port))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    redis = redis_module.connect(settings.redis_url)
    pool = await database.connect(settings.database_url)
    keys = Keys(settings.redis_key_prefix)
    board_log = BoardLog(RedisStreams(redis, Scripts(redis), keys), PostgresSnapshots(pool))
    appender, tail, folder = Appender(board_log), Tail(redis), Folder(processes_max=1)
    randomness = random.SystemRandom()
    replicas = Replicas(Following(board_log, tail, keys), folder, appender, randomness.getrandbits)
    appender.on_logged = replicas.logged
    fullness = Fullness(board_log.streams, settings.redis_memory_bytes_max, appender.hold)
    REPLICAS.set_function(lambda: len(replicas))
    writer = Writer(replicas, appender, time.monotonic)
    publisher = Publisher(board_log.streams)
    roster = Roster(randomness.getrandbits)
    agents = AgentPresence(secrets.token_hex(8), roster, tail, publisher.publish, keys)
    admission, assets = Admission(Access(pool, redis, keys), board_log.snapshots), PostgresAssets(pool)
    items = Items(admission, replicas, writer, assets, agents, randomness.getrandbits)
    checks = {"redis": partial(redis_module.check, redis), "database": partial(database.check, pool)}
    app = web.Application(middlewares=[answer_errors], client_max_size=BODY_BYTES_MAX)
    app.add_routes(health_routes(checks, lambda: {"node": settings.name, "replicas": len(replicas)}))
    app.add_routes(items.routes())
    app.add_routes(Assets(admission, assets).routes())
    app.add_routes(documentation_routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=FINISH_SECONDS_MAX)
    try:
        # If one of these ends, the bridge cannot keep its promises: the group ends the process with it.
        async with asyncio.TaskGroup() as tasks:
            audit = audit_forever(replicas.follows, board_log.streams)
            work = (appender.run(), tail.run(), publisher.run(), fullness.watch(), audit)
            background = [tasks.create_task(part) for part in work]
            await folder.warm()  # an agent's first write must not wait for a process to start
            await runner.setup()
            await web.SockSite(runner, listener).start()
            log.info("listening", port=settings.port)
            await stop.wait()
            await runner.cleanup()
            await _say_goodbye(replicas, agents, publisher, appender)
            for task in background:
                task.cancel()
    finally:
        await folder.close()
        await redis.aclose()
        pool.terminate()
    log.info("stopped")


async def _say_goodbye(replicas: Replicas, agents: AgentPresence, publisher: Publisher, appender: Appender) -> None:
    """Give back what a copy holds and its log has lost (G4), and take the agents off people's screens."""
    replicas.close()
    agents.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(FAREWELL_SECONDS_MAX):
            await publisher.flushed()
            await appender.flushed()
