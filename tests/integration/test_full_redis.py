"""A Redis that has reached its maxmemory is compacted as any other, or it would stay full for ever (G5)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from boardctl.servers import running_valkey
from persistence_worker.compaction import Outcome
from persistence_worker.plan import SETTLE_MS
from tests.compaction_system import BOARD, Author, System, new_system


@pytest.fixture
async def system(tmp_path: Path, database: str) -> AsyncIterator[System]:
    async with running_valkey(tmp_path / "valkey") as server, new_system(server.url, database) as made:
        yield made


async def fill(system: System) -> None:
    await system.redis.config_set("maxmemory", 1)


async def test_G5_a_full_redis_is_emptied_by_a_worker(system: System) -> None:
    head = await system.append(Author().write(a=1))
    await fill(system)
    await system.worker.serve(await system.claim())
    assert (await system.snapshot()).cursor == head
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= SETTLE_MS
    system.settle()
    await system.worker.serve(await system.claim())
    assert [entry.cursor for entry in await system.streams.read(BOARD)] == [head]


async def test_L6_a_lost_history_is_folded_though_redis_is_full(system: System) -> None:
    await system.append(Author().write(old=1))
    await system.compaction.run(BOARD)
    await system.replace_log()
    await system.append(Author().write(new=2))
    await fill(system)
    done = await system.compaction.run(BOARD)
    assert done.outcome is Outcome.FOLDED
    assert await system.items() == {"old": 1, "new": 2}
