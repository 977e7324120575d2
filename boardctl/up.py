"""`boardctl up`: the whole system on one machine, every service a process of its own, as in production."""

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg

from boardctl import demo
from boardctl.children import Child, NotReady, Program, Supervisor
from boardctl.errors import CannotStart
from boardctl.files import held, write_private
from boardctl.progress import Progress, Ready
from boardctl.servers import postgres, valkey
from boardlog import redis as redis_module
from boardlog.errors import InvalidSetting, StorageUnavailable

BRIDGE_OFFSET = 10
WORKER_OFFSET = 20
RELAYS_MAX = BRIDGE_OFFSET
PORT_MAX = 65_535 - WORKER_OFFSET
ANSWER_SECONDS_MAX = 5.0
SECOND_PRESS_SECONDS_MIN = 0.3
"""Sooner is the same press: timeout(1), for one, signals the process and then its whole group."""

COMMANDS: Mapping[str, Sequence[str]] = {
    # -P: a folder called "relay" where this was started is not the service.
    "relay": [sys.executable, "-P", "-m", "relay"],
    "bridge": [sys.executable, "-P", "-m", "bridge"],
    "worker": [sys.executable, "-P", "-m", "persistence_worker"],
}

Prepare = Callable[[str, str, str, Path], Awaitable[demo.Demo]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What can be chosen."""

    relays: int = 2
    port: int = 8080
    """Relays listen here and on the next ports, the bridge at BRIDGE_OFFSET from here, the worker at WORKER_OFFSET."""
    data: Path = Path(".data")
    """Kept between runs: the servers' files, the demo board's key, the logs."""
    ready_file: Path | None = None
    redis_url: str | None = None
    """A Redis to use instead of an embedded one."""
    database_url: str | None = None
    """A PostgreSQL to use instead of an embedded one."""

    def ports(self) -> dict[str, int]:
        """Return each service's port by its name."""
        relays = {f"relay-{number}": self.port + number for number in range(self.relays)}
        return {**relays, "bridge": self.port + BRIDGE_OFFSET, "worker": self.port + WORKER_OFFSET}


async def up(
    options: Options,
    progress: Progress,
    *,
    prepare: Prepare = demo.prepare,
    commands: Mapping[str, Sequence[str]] = COMMANDS,
) -> None:
    """Run the system until SIGINT, SIGTERM or SIGHUP; afterwards nothing of it runs. A second SIGINT hurries.

    Raises CannotStart or another BoardLogError if it cannot start. Call it in the main thread: children are bound to
    it, so that they end even if this process is killed.
    """
    supervisor = Supervisor(progress.child)
    stop = asyncio.Event()
    work = asyncio.create_task(_run(options, progress, supervisor, stop, prepare, commands))
    with _stopped_by_signals(work, stop, supervisor, progress):
        try:
            await work
        except asyncio.CancelledError:
            if not stop.is_set():
                raise
        except OSError as error:
            raise CannotStart(f"Cannot use {error.filename}: {error.strerror}.") from error
        finally:
            progress.end()
    progress.stopped()


async def _run(
    options: Options,
    progress: Progress,
    supervisor: Supervisor,
    stop: asyncio.Event,
    prepare: Prepare,
    commands: Mapping[str, Sequence[str]],
) -> None:
    _check_ready_file(options.ready_file)
    _check_ports(options.ports())
    await _check_given_stores(options)
    data = options.data.resolve()
    async with AsyncExitStack() as stack:
        hold = await stack.enter_async_context(held(data))
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)  # of a run that was killed
        progress.begin([*_embedded(options), *options.ports()])
        servers = await _servers(options, data, hold)
        await stack.enter_async_context(supervisor.running(list(servers.values())))
        redis_url = options.redis_url or servers["redis"].url
        database_url = options.database_url or servers["postgres"].url
        board, api_key = await _prepared(prepare, redis_url, database_url, data / "demo-key")
        services = {
            name: Child(_service(name, port, options, redis_url, database_url, commands))
            for name, port in options.ports().items()
        }
        await stack.enter_async_context(supervisor.running(list(services.values())))
        relays = [service.url for name, service in services.items() if name.startswith("relay")]
        ready = Ready(
            relays=relays,
            bridge=services["bridge"].url,
            canvas=f"{relays[0]}/boards/{board}#key={api_key}",
            board=board,
            api_key=api_key,
            redis_url=redis_url,
            database_url=database_url,
            pids={name: child.pid for name, child in {**services, **servers}.items()},
        )
        if options.ready_file:
            stack.enter_context(_written(options.ready_file, ready))
        progress.end()
        progress.ready(ready, data)
        await stop.wait()


@contextmanager
def _stopped_by_signals(
    work: asyncio.Task[None], stop: asyncio.Event, supervisor: Supervisor, progress: Progress
) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    pressed_at = float("-inf")

    def on_signal(number: signal.Signals) -> None:
        nonlocal pressed_at
        if not supervisor.stopping:
            # From here on nothing may interrupt the work: it is stopping the children.
            supervisor.stopping = True
            pressed_at = loop.time()
            progress.stopping()
            stop.set()
            work.cancel()
        elif number is signal.SIGINT and loop.time() - pressed_at > SECOND_PRESS_SECONDS_MIN:
            supervisor.end_all()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _embedded(options: Options) -> list[str]:
    given = {"redis": options.redis_url, "postgres": options.database_url}
    return [name for name, url in given.items() if url is None]


async def _servers(options: Options, data: Path, hold: int) -> dict[str, Child]:
    logs = data / "logs"
    servers = {}
    if options.redis_url is None:
        servers["redis"] = valkey(data / "redis", log=logs / "redis.log", inherits=(hold,))
    if options.database_url is None:
        servers["postgres"] = await postgres(data / "postgres", logs=logs, inherits=(hold,))
    return servers


async def _prepared(prepare: Prepare, redis_url: str, database_url: str, key_file: Path) -> demo.Demo:
    try:
        return await prepare(database_url, redis_url, os.environ.get("REDIS_KEY_PREFIX", ""), key_file)
    except asyncpg.PostgresError as error:
        raise CannotStart(f"The database refused the tables or the demo board: {error}.") from error


def _service(
    name: str, port: int, options: Options, redis_url: str, database_url: str, commands: Mapping[str, Sequence[str]]
) -> Program:
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "NODE_NAME": name,
        "REDIS_URL": redis_url,
        "DATABASE_URL": database_url,
        "BRIDGE_URL": f"http://127.0.0.1:{options.ports()['bridge']}",
    }
    return Program(
        name=name,
        command=commands[name.partition("-")[0]],
        environment=environment,
        log=options.data.resolve() / "logs" / f"{name}.log",
        url=url,
        ready=partial(_answers, f"{url}/ready"),
    )


async def _answers(url: str) -> None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS_MAX)) as client,
            client.get(url) as answer,
        ):
            if answer.status != 200:
                raise NotReady(f"{url} answers {answer.status} {(await answer.text())[:200]}")
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NotReady(str(error) or type(error).__name__) from error


def _check_ready_file(path: Path | None) -> None:
    if path and not os.access(path.parent, os.W_OK | os.X_OK):
        raise CannotStart(f"Cannot write to {path.parent.resolve()}: pass another path with --ready-file.")


def _check_ports(ports: Mapping[str, int]) -> None:
    """Raise CannotStart if a service's port is taken. It may be a moment later: then the service says so itself."""
    for name, port in ports.items():
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise CannotStart(
                    f"Port {port} ({name}) is already in use: stop what listens there, or pass another --port."
                ) from error
            raise CannotStart(
                f"Cannot listen on port {port} ({name}): {error.strerror}. Pass another --port."
            ) from error


async def _check_given_stores(options: Options) -> None:
    """Raise CannotStart if a server that was given cannot be used."""
    if options.redis_url:
        try:
            async with aclosing(redis_module.connect(options.redis_url)) as redis:
                await redis_module.check(redis)
        except StorageUnavailable as error:
            raise _unusable("Redis", "--redis-url", options.redis_url, error.__cause__ or error) from error
        except InvalidSetting as error:
            raise _unusable("Redis", "--redis-url", options.redis_url, error) from error
    if options.database_url:
        try:
            connection = await asyncpg.connect(options.database_url, timeout=ANSWER_SECONDS_MAX)
            await connection.close(timeout=ANSWER_SECONDS_MAX)
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise _unusable("PostgreSQL", "--database-url", options.database_url, error) from error


def _unusable(server: str, option: str, url: str, error: BaseException) -> CannotStart:
    try:
        where = urlsplit(url).netloc.rpartition("@")[2]  # without the password
    except ValueError:
        where = ""
    reason = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ConnectionRefusedError):
            reason = "it refused the connection. Does it run?"
        cause = cause.__cause__ or cause.__context__
    return CannotStart(f"{server} at {where or 'this address'} ({option}) cannot be used: {reason}")


@contextmanager
def _written(path: Path, ready: Ready) -> Iterator[None]:
    write_private(path, json.dumps(asdict(ready)) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
