"""Connecting to PostgreSQL, and bringing its tables up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import asyncpg

from boardlog.errors import InvalidSetting, StorageUnavailable

Pool = asyncpg.Pool
CONNECTIONS_MAX = 8
COMMAND_TIMEOUT_SECONDS = 10.0
IDLE_TRANSACTION_SECONDS_MAX = 5.0
"""The server ends a transaction whose process says nothing for this long: one that hangs, or was cut off without a
reset, would hold a board's row against all others. Less than COMMAND_TIMEOUT_SECONDS, so that who waits gets it."""
MIGRATION_LOCK = 0x626F617264  # "board": one migration at a time, whichever process starts it


async def connect(url: str, connections_max: int = CONNECTIONS_MAX) -> Pool:
    """Open a pool that connects on first use, so that a service starts while the database is away (G5).

    Raises InvalidSetting.
    """
    try:
        return await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=connections_max,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            timeout=5.0,
            reset=_keep,
            server_settings={"idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS_MAX * 1000:.0f}"},
        )
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        raise InvalidSetting(f"DATABASE_URL is not an address of PostgreSQL: {error}") from error


async def _keep(_connection: object) -> None:
    """Leave a connection as it is between two uses. A transaction is rolled back in any case; we set nothing else.

    The library's own reset asks the server to forget what no query of ours brings about: a second round trip for each.
    """


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn a lost, refused or slow connection into StorageUnavailable, and whatever goes wrong inside the server: no
    space, a file that cannot be read or written. Errors in our own SQL stay what they are.
    """
    try:
        yield
    except asyncpg.UndefinedTableError as error:
        raise StorageUnavailable("The database lacks its tables: run `boardctl migrate`.") from error
    except (
        OSError,
        TimeoutError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # a connection that the server has just ended, and whose end is still to be read
        asyncpg.IdleInTransactionSessionTimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.PostgresSystemError,
        asyncpg.InternalServerError,
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.ReadOnlySQLTransactionError,
    ) as error:
        raise StorageUnavailable(f"PostgreSQL is not available: {error or type(error).__name__}") from error


async def check(pool: Pool) -> None:
    """Return if the database answers and has its tables. Raises StorageUnavailable."""
    with unavailable():
        await pool.execute("SELECT 1 FROM canvas_snapshots LIMIT 0")


async def migrate(pool: Pool) -> list[str]:
    """Apply the migrations in `sql/` that this database lacks, all in one transaction; return their names.

    Several processes may call it at once. Raises StorageUnavailable; cancelled, it leaves the database as it was.
    """
    scripts = sorted((file for file in files("boardlog").joinpath("sql").iterdir()), key=lambda file: file.name)
    with unavailable():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_migrations "
                "(name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            applied = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations")}
            missing = [script for script in scripts if script.name not in applied]
            for script in missing:
                await connection.execute(script.read_text("utf-8"))
                await connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", script.name)
    return [script.name for script in missing]
