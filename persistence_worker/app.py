"""Composition root: makes the parts, joins them, runs them until told to stop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from boardlog import database
from boardlog import redis as redis_module
from boardlog.due import RedisDue
from boardlog.folding import Folder
from boardlog.fullness import Fullness
from boardlog.health import health_routes
from boardlog.keys import Keys
from boardlog.log import BoardLog
from boardlog.scripts import Scripts
from boardlog.service import told_to_stop
from boardlog.snapshots import PostgresSnapshots
from boardlog.stream import RedisStreams
from persistence_worker.compaction import Compaction
from persistence_worker.settings import WorkerSettings
from persistence_worker.sweep import Sweep, sweep_forever, watch_due_forever
from persistence_worker.worker import Worker

log = structlog.get_logger()

FINISH_SECONDS_MAX = 5.5
"""What passes under way get to finish after SIGTERM; with what follows it stays below 8 s (G10)."""
SERVER_STOP_SECONDS_MAX = 0.25


async def serve(settings: WorkerSettings) -> None:
    """Run a worker until SIGTERM or SIGINT, let it finish its boards, return. Raises OSError if the port is taken."""
    listener = socket.create_server((settings.host, settings.port))
    stop = told_to_stop()
    redis = redis_module.connect(settings.redis_url)
    pool = await database.connect(settings.database_url)
    folder = Folder(settings.fold_processes_max)
    scripts, keys = Scripts(redis), Keys(settings.redis_key_prefix)
    streams, due = RedisStreams(redis, scripts, keys), RedisDue(redis, scripts, keys)
    snapshots = PostgresSnapshots(pool)
    fullness = Fullness(streams, settings.redis_memory_bytes_max)
    compaction = Compaction(BoardLog(streams, snapshots), folder, is_memory_scarce=lambda: fullness.is_scarce)
    worker = Worker(due, streams, compaction, settings.boards_max)
    sweep = Sweep(streams, snapshots, due)
    checks = {"redis": partial(redis_module.check, redis), "database": partial(database.check, pool)}
    try:
        async with _answering(listener, checks, lambda: {"node": settings.name, "compacting": sorted(worker.boards)}):
            log.info("listening", port=settings.port)
            sweeping = sweep_forever(sweep, settings.sweep_seconds)
            await _work(worker, stop, [sweeping, watch_due_forever(due), fullness.watch()])
    finally:
        await folder.close()
        await redis.aclose()
        pool.terminate()
    log.info("stopped")


async def _work(worker: Worker, stop: asyncio.Event, background: Sequence[Coroutine[Any, Any, None]]) -> None:
    # If one of these ends by itself, something is wrong that nobody foresaw: the group ends the process with it.
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(work) for work in background]
        working = tasks.create_task(worker.run(stop))
        await stop.wait()
        for task in beside:
            task.cancel()
        await asyncio.wait([working], timeout=FINISH_SECONDS_MAX)
        working.cancel()


@asynccontextmanager
async def _answering(
    listener: socket.socket,
    checks: Mapping[str, Callable[[], Awaitable[None]]],
    describe: Callable[[], dict[str, object]],
) -> AsyncIterator[None]:
    app = web.Application()
    app.add_routes(health_routes(checks, describe))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SERVER_STOP_SECONDS_MAX)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()
