"""A log that grew long while the database was away is folded slice by slice, and loses nothing by it (G3, G5, L8)."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest

from boardlog.ids import GENESIS
from boardlog.log import BoardLog
from boardlog.merge import Folded, fold
from boardlog.snapshots import Snapshots
from boardlog.stream import ENTRY_BYTES, Streams
from persistence_worker import compaction as compaction_module
from persistence_worker.compaction import Compaction, Done, Outcome
from persistence_worker.plan import SCARCE_SETTLE_MS, SETTLE_MS
from tests.compaction_system import BOARD, Author, InProcess, Pausing, System, items_in, new_system, own_database

SLICE_ENTRIES = 5


@pytest.fixture(scope="module")
def own_database_url(database_url: str) -> Iterator[str]:
    with own_database(database_url) as url:
        yield url


@pytest.fixture
async def system(redis_url: str, own_database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    monkeypatch.setattr(compaction_module, "SLICE_BYTES_MAX", (SLICE_ENTRIES - 1) * (ENTRY_BYTES + 150))
    async with new_system(redis_url, own_database_url) as made:
        yield made


async def write(system: System, count: int) -> dict[str, int]:
    """Append entries of about 100 bytes that set a key each."""
    author = Author()
    for n in range(count):
        await system.append(author.write(**{f"k{n}": n, "padding": "x" * 50}))
    return {f"k{n}": n for n in range(count)}


async def test_G3_each_slice_is_a_snapshot_with_all_up_to_its_cursor_and_nothing_is_trimmed_between(system) -> None:
    wanted = await write(system, 23)
    entries = (await system.streams.read(BOARD))[1:]
    taken: list[int] = []

    class Measuring:
        async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
            taken.append(len(updates))
            return fold(base, updates)

    system.folds = Measuring()
    outcomes = []
    while not outcomes or outcomes[-1].covered is None:
        outcomes.append(await system.compaction.run(BOARD))
        row = await system.snapshot()
        reached = [entry.cursor for entry in entries].index(row.cursor) + 1
        assert items_in(row.state).keys() - {"padding"} == set(list(wanted)[:reached])
        # A database that fails over to the snapshot from before the outage finds all of its log.
        assert row.previous == GENESIS.id
        assert await system.length() == 24
    assert outcomes[:-1] == [Done(Outcome.FOLDED, None, 0)] * (len(outcomes) - 1)
    assert outcomes[-1] == Done(Outcome.FOLDED, entries[-1].cursor, SETTLE_MS)
    assert max(taken) <= SLICE_ENTRIES
    assert sum(taken) == 23
    system.settle()
    assert (await system.compaction.run(BOARD)).outcome is Outcome.TRIMMED
    assert await system.length() == 1
    assert (await system.items()).items() >= wanted.items()


async def test_L9_a_board_of_which_a_slice_is_folded_stays_due_at_once_until_all_is(system: System) -> None:
    wanted = await write(system, 18)
    await system.due.mark([BOARD], 0)
    passes = 0
    while (due_in_ms := await system.due_in_ms()) is not None and due_in_ms <= 0:
        await system.worker.serve(await system.claim())
        passes += 1
    assert passes > 2
    assert (await system.snapshot()).version == passes
    assert items_in((await system.snapshot()).state).items() >= wanted.items()


async def test_a_large_state_is_not_stored_again_for_every_few_entries(system: System) -> None:
    await system.append(Author().write(large="x" * 30_000))
    while (await system.compaction.run(BOARD)).covered is None:
        pass
    version = (await system.snapshot()).version
    await write(system, 20)
    assert (await system.compaction.run(BOARD)).covered is not None
    assert (await system.snapshot()).version == version + 1


@pytest.mark.parametrize("trims_far", [True, False])
@pytest.mark.parametrize("seed", [1, 2, secrets.randbits(32)])
async def test_G3_racing_and_pausing_workers_lose_nothing_of_a_log_in_slices(system, seed: int, trims_far) -> None:
    rng = random.Random(seed)
    log = BoardLog(cast("Streams", Pausing(system.streams, rng)), cast("Snapshots", Pausing(system.snapshots, rng)))
    if trims_far:
        system.ahead = timedelta(days=1)  # every snapshot counts as settled: trims go as far as they ever do
    compaction = Compaction(log, InProcess(), system.now)
    acknowledged: set[str] = set()
    outcomes: list[Done] = []
    long_before = await write(system, 40)
    acknowledged.update(long_before, {"padding"})

    async def author(name: str) -> None:
        writer = Author()
        for n in range(30):
            await system.append(writer.write(**{f"{name}{n}": n}))
            acknowledged.add(f"{name}{n}")
            await asyncio.sleep(rng.random() * 0.01)

    async def compact(writing: asyncio.Task[Any]) -> None:
        while not writing.done():
            outcomes.append(await compaction.run(BOARD))

    async def join(writing: asyncio.Task[Any]) -> None:
        while not writing.done():
            before = set(acknowledged)
            loaded = await log.load(BOARD)
            assert before <= items_in(loaded.snapshot.state, *loaded.updates).keys()  # G2

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(asyncio.wait([tasks.create_task(author(name)) for name in "abc"]))
        for _ in range(4):
            tasks.create_task(compact(writing))
        tasks.create_task(join(writing))
    while (await compaction.run(BOARD)).covered is None:
        pass
    row = await system.snapshot()
    assert items_in(row.state).keys() == acknowledged
    assert row.cursor == (await system.streams.read(BOARD))[-1].cursor
    assert [done for done in outcomes if done == (Outcome.FOLDED, None, 0)], "no slice was folded: nothing was tested"


async def test_G5_where_memory_is_scarce_a_log_is_trimmed_as_soon_as_a_replica_may_have_its_snapshot(system) -> None:
    await write(system, SLICE_ENTRIES - 1)
    compaction = Compaction(system.log, InProcess(), system.now, is_memory_scarce=lambda: True)
    done = await compaction.run(BOARD)
    assert (done.outcome, done.again_after_ms) == (Outcome.FOLDED, SCARCE_SETTLE_MS)
    assert (await compaction.run(BOARD)).outcome is Outcome.TRIMMED
    assert await system.length() == SLICE_ENTRIES
    system.ahead = timedelta(milliseconds=SCARCE_SETTLE_MS)
    await compaction.run(BOARD)
    assert await system.length() == 1


async def test_L7_a_worker_that_was_paused_over_a_slice_cannot_set_the_board_back(system: System) -> None:
    wanted = await write(system, 12)
    loaded, go = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        loaded.set()
        await go.wait()

    paused = asyncio.create_task(Compaction(system.log, InProcess(pause), system.now).run(BOARD))
    await loaded.wait()
    while (await system.compaction.run(BOARD)).covered is None:
        pass
    row = await system.snapshot()
    go.set()
    assert (await paused).outcome is Outcome.STALE
    assert await system.snapshot() == row
    assert items_in(row.state).items() >= wanted.items()


async def test_L6_a_log_that_is_lost_between_two_slices_is_rebased_and_keeps_what_was_folded(system: System) -> None:
    await write(system, 12)
    await system.compaction.run(BOARD)
    folded = items_in((await system.snapshot()).state)
    await system.replace_log()
    await system.append(Author().write(new=2))
    assert (await system.compaction.run(BOARD)).outcome is Outcome.FOLDED
    assert await system.items() == {**folded, "new": 2}
