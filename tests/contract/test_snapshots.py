"""Snapshots (L7, G3): the same cases against the twin, PostgreSQL 18 and the machine's own."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from boardlog import database as database_module
from boardlog.errors import BoardLogError, BoardNotFound, StaleSnapshot
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE
from boardlog.snapshots import Quarantined, Snapshot, Snapshots
from tests.contract.stores import machine_database, postgres_snapshots, twin_snapshots

BOARD = BoardId("board")
CURSOR = Cursor(EntryId(1_700_000_000_000, 3), Tag("tag"))
BAD = Quarantined(CURSOR, 2, "It cannot be folded.", b"\x00bytes")


@pytest.fixture(params=["twin", "postgres 18", "the machine's postgres"])
async def snapshots(request: pytest.FixtureRequest, database: str) -> AsyncIterator[Snapshots]:
    if request.param == "twin":
        yield twin_snapshots()
    elif request.param == "postgres 18":
        async with postgres_snapshots(database) as made:
            yield made
    else:
        async with machine_database() as url, postgres_snapshots(url) as made:
            yield made


def snapshot(version: int = 1, state: bytes = b"state") -> Snapshot:
    return Snapshot(BOARD, version, CURSOR, GENESIS.id, state, b"vector")


async def test_L1_a_new_board_is_empty_at_genesis(snapshots: Snapshots) -> None:
    assert await snapshots.create(BOARD)
    assert not await snapshots.create(BOARD)
    empty = Snapshot(BOARD, 0, GENESIS, GENESIS.id, EMPTY_UPDATE, EMPTY_STATE_VECTOR)
    assert await snapshots.load(BOARD) == empty
    assert await snapshots.load_cursor(BOARD) == GENESIS


async def test_a_board_without_a_row_does_not_exist(snapshots: Snapshots) -> None:
    with pytest.raises(BoardNotFound):
        await snapshots.load(BOARD)
    with pytest.raises(BoardNotFound):
        await snapshots.load_cursor(BOARD)
    with pytest.raises(StaleSnapshot):
        await snapshots.store(snapshot(), [], replaces=GENESIS)
    assert await snapshots.summaries([BOARD]) == []


async def test_what_is_stored_is_loaded(snapshots: Snapshots) -> None:
    await snapshots.create(BOARD)
    stored = snapshot(state=secrets.token_bytes(1000) * 5000)
    await snapshots.store(stored, [BAD], replaces=GENESIS)
    loaded = await snapshots.load(BOARD)
    assert loaded == stored
    assert loaded.stored_at == (await snapshots.summaries([BOARD]))[0].updated_at
    assert await snapshots.load_cursor(BOARD) == CURSOR
    assert await snapshots.quarantined(BOARD) == [BAD]


async def test_L7_a_stale_store_changes_nothing(snapshots: Snapshots) -> None:
    await snapshots.create(BOARD)
    await snapshots.store(snapshot(), [], replaces=GENESIS)
    for version in (0, 1, 3):
        with pytest.raises(StaleSnapshot):
            await snapshots.store(snapshot(version, b"stale"), [BAD], replaces=CURSOR)
    assert await snapshots.load(BOARD) == snapshot()
    assert await snapshots.quarantined(BOARD) == []


@pytest.mark.parametrize("other", [CURSOR._replace(tag=Tag("other")), CURSOR._replace(id=EntryId(1, 1)), GENESIS])
async def test_L7_the_number_of_another_snapshot_is_no_leave_to_replace_it(snapshots: Snapshots, other: Cursor) -> None:
    """A database that fell back to a replica without version 1 gets a version 1 again, from other entries."""
    await snapshots.create(BOARD)
    await snapshots.store(snapshot(), [], replaces=GENESIS)
    with pytest.raises(StaleSnapshot):
        await snapshots.store(snapshot(2, b"folded into the first version 1"), [BAD], replaces=other)
    assert await snapshots.load(BOARD) == snapshot()


async def test_L7_of_stores_that_race_one_wins(snapshots: Snapshots) -> None:
    await snapshots.create(BOARD)
    states = [b"%d" % number for number in range(8)]
    outcomes = await asyncio.gather(
        *(snapshots.store(snapshot(state=state), [], replaces=GENESIS) for state in states), return_exceptions=True
    )
    won = [state for state, outcome in zip(states, outcomes, strict=True) if outcome is None]
    assert len(won) == 1
    assert (await snapshots.load(BOARD)).state == won[0]


async def test_the_same_update_is_quarantined_once(snapshots: Snapshots) -> None:
    await snapshots.create(BOARD)
    await snapshots.store(snapshot(), [BAD], replaces=GENESIS)
    later = BAD._replace(position=1)
    await snapshots.store(snapshot(2), [BAD, later], replaces=CURSOR)
    assert await snapshots.quarantined(BOARD) == [later, BAD]
    (summary,) = await snapshots.summaries()
    assert (summary.board, summary.version, summary.cursor, summary.quarantined) == (BOARD, 2, CURSOR, 2)


async def test_a_damaged_row_is_a_clear_error(database: str) -> None:
    async with postgres_snapshots(database) as snapshots:
        await snapshots.create(BOARD)
        connection = await asyncpg.connect(database)
        await connection.execute("UPDATE canvas_snapshots SET state = 'not zstd'")
        await connection.close()
        with pytest.raises(BoardLogError, match="restore its row"):
            await snapshots.load(BOARD)


async def test_migrations_run_once_whoever_starts_them(database_url: str) -> None:
    name = f"test_{secrets.token_hex(6)}"
    administrator = await asyncpg.connect(database_url)
    await administrator.execute(f"CREATE DATABASE {name}")
    base, _, query = database_url.partition("?")
    url = f"{base.rsplit('/', 1)[0]}/{name}?{query}"
    pools = [await database_module.connect(url) for _ in range(3)]
    applied = await asyncio.gather(*(database_module.migrate(pool) for pool in pools))
    assert sorted(map(len, applied))[:2] == [0, 0]
    assert await database_module.migrate(pools[0]) == []
    for pool in pools:
        await database_module.check(pool)
        await pool.close()
    await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await administrator.close()
