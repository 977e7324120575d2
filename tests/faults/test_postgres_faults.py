"""PostgreSQL dies, is away, falls silent, or has no space left, under load."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from boardctl.children import Child
from boardctl.servers import running_postgres
from boardlog import database as database_module
from boardlog.access import EVERY_BOARD, hash_key, new_key
from boardlog.grant import Role
from boardlog.keys import Keys
from tests.cable import Cable
from tests.faults.limits import WITHOUT_LIMIT, files_grow_to
from tests.faults.load import Back, Load, under_load
from tests.faults.report import Report
from tests.services import Service, System, system

SILENT_SECONDS = 12.0
"""Longer than a query may take (10 s)."""
REFUSED_SECONDS_MAX = 40.0
"""What nobody can load is tried for 20 s."""
PASSES_MAX = 100
GOAL_SECONDS = 1
"""Open boards do not need the database: nobody should notice."""
JOURNAL_BYTES = 16 << 20
"""A piece of the journal is as large as this, and no larger."""


@pytest.fixture
async def server(servers) -> AsyncIterator[Child]:
    """A PostgreSQL of this test's own, to be hurt; outside of pytest's folders, as it does not run as root."""
    async with running_postgres(servers.folder / f"postgres-{secrets.token_hex(4)}") as child:
        pool = await database_module.connect(child.url)
        await database_module.migrate(pool)
        await pool.close()
        yield child


@pytest.fixture
async def hurt(server: Child, redis_url: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, server.url, redis_key_prefix, tmp_path) as made:
        yield made


@pytest.fixture
async def cable(server: Child) -> AsyncIterator[Cable]:
    """What all services reach the database by."""
    async with Cable(server.url) as made:
        yield made


@pytest.fixture
async def worker(hurt: System, cable: Cable) -> Service:
    return await hurt.start("persistence_worker", SWEEP_SECONDS="5", DATABASE_URL=cable.url)


@pytest.fixture
async def load(hurt: System, cable: Cable, worker: Service) -> AsyncIterator[Load]:
    relays, bridge = await asyncio.gather(
        hurt.relays(2, DATABASE_URL=cable.url), hurt.start("bridge", DATABASE_URL=cable.url)
    )
    async with under_load(hurt, relays, [bridge]) as made:
        yield made


async def told(load: Load, report: Report, fault: str, back: list[Back]) -> None:
    """Nobody noticed, nothing is lost, and the worker has caught up."""
    assert [one for one in back if one.closes] == []
    await load.lost_nothing(report, fault, back, goal_seconds=GOAL_SECONDS)
    await load.compacted()
    assert await load.lost() == []


@pytest.mark.timeout(180)
async def test_G5_open_boards_go_on_while_the_database_is_cut_off_silent_or_restarted(
    server: Child, cable: Cable, load: Load, report: Report
) -> None:
    async with load.running():
        await load.flows()
        await cable.cut()
        back = await during_fault(load)
    await told(load, report, "connections to PostgreSQL cut", back)

    async with load.running():
        await load.flows()
        await server.kill()
        back = await during_fault(load)
        await server.start()
    await told(load, report, "SIGKILL of PostgreSQL", back)

    async with load.running():
        await load.flows()
        cable.silence()
        back = await during_fault(load)
        await asyncio.sleep(SILENT_SECONDS)
        cable.mend()
    await told(load, report, f"silent cut to PostgreSQL, {SILENT_SECONDS:g} s", back)


@pytest.mark.timeout(180)
async def test_G5_while_the_database_is_away_known_keys_stay_good_and_other_boards_are_refused(
    server: Child, hurt: System, load: Load, report: Report
) -> None:
    unheld = await hurt.another_board("unheld")
    key = new_key()
    await hurt.stores.access.create_key(key, EVERY_BOARD, Role.EDITOR, "known to the first relay")
    relay = f"{load.relays.backends[0]}/ws".replace("http", "ws")
    known = await load.clients.open(relay, hurt.board, key=key)
    await known.wait_synced()
    await known.destroy()
    async with load.running():
        await load.flows()
        await server.kill()
        back = await during_fault(load)
        for used in (key, hurt.viewer_key):
            await hurt.stores.redis.delete(Keys(hurt.redis_key_prefix).api_key(hash_key(used)))
        joiner = await load.clients.open(relay, hurt.board, key=key)
        await joiner.wait_synced()
        refused = [await load.clients.open(relay, unheld.board, key=one) for one in (key, unheld.editor_key)]
        for one in refused:
            await one.wait_closed(1013, seconds_max=REFUSED_SECONDS_MAX)
        await server.start()
        for one in refused:
            await one.wait_synced(seconds_max=REFUSED_SECONDS_MAX)
            await one.destroy()
        await joiner.destroy()
    await told(load, report, "PostgreSQL away for 20 s", back)


@pytest.mark.timeout(180)
async def test_G5_a_database_without_space_loses_nothing(
    server: Child, hurt: System, worker: Service, load: Load, report: Report
) -> None:
    """No table grows any more, though the journal of transactions does: the server lives, and says what is wrong."""
    pool = hurt.stores.pool
    filler = secrets.token_bytes(JOURNAL_BYTES + (1 << 20))
    await pool.execute(
        "INSERT INTO canvas_snapshots (board_id, cursor_ms, cursor_seq, cursor_tag, previous_ms, previous_seq, state,"
        " state_bytes, state_vector) VALUES ('filler', 0, 1, '', 0, 1, $1, 1, '')",
        filler,
    )

    async def let_files_grow_to(bytes_max: int) -> None:
        backends = await pool.fetch("SELECT pid FROM pg_stat_activity")
        files_grow_to(bytes_max, [server.pid, *(row["pid"] for row in backends)])

    async with load.running():
        await load.flows()
        await let_files_grow_to(JOURNAL_BYTES)
        back = await during_fault(load)
        for _ in range(PASSES_MAX):  # the table's last pages may take a snapshot or two
            await load.mark_due()
            await asyncio.sleep(0.1)
            if "waiting_for_storage" in worker.log.read_text():
                break
        await load.flows()
        await let_files_grow_to(WITHOUT_LIMIT)
    await told(load, report, "PostgreSQL's disk is full", back)
    text = worker.log.read_text()
    assert "waiting_for_storage" in text
    assert "compaction_failed" not in text


async def during_fault(load: Load) -> list[Back]:
    """Have people and agents work with the database as it is."""
    await load.fault()
    await load.agents_back(10)
    return await load.back(10)
