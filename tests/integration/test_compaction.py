"""One pass over one board on real servers: nothing is lost, whatever races, stops or disappears (G3, G6, L6, L7)."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from boardlog.due import DUE_AFTER_MS
from boardlog.entry import EntryKind, unpack
from boardlog.errors import StorageUnavailable
from boardlog.folding import Folder
from boardlog.ids import GENESIS, BoardId, EntryId, Tag
from boardlog.log import BoardLog
from boardlog.snapshots import Snapshots
from boardlog.stream import Streams
from persistence_worker import compaction as compaction_module
from persistence_worker.compaction import BoardTooLarge, Compaction, Done, Outcome
from persistence_worker.plan import SCARCE_SETTLE_MS, SETTLE_MS
from tests.compaction_system import BOARD, Author, InProcess, Pausing, System, items_in, new_system, own_database

GARBAGE = b"\x07garbage"


@pytest.fixture(scope="module")
def own_database_url(database_url: str) -> Iterator[str]:
    with own_database(database_url) as url:
        yield url


@pytest.fixture
async def system(redis_url: str, own_database_url: str) -> AsyncIterator[System]:
    async with new_system(redis_url, own_database_url) as system:
        yield system


async def test_G3_a_log_is_folded_stored_and_trimmed(system: System) -> None:
    author = Author()
    updates = [author.write(**{f"k{n % 100}": n}) for n in range(500)]
    for start in range(0, 500, 5):
        head = await system.append(*updates[start : start + 5])
    system.folds = folder = Folder()
    done = await system.compaction.run(BOARD)
    await folder.close()
    row = await system.snapshot()
    assert done == Done(Outcome.FOLDED, head, SETTLE_MS)
    assert items_in(row.state) == items_in(*updates)
    assert (row.version, row.cursor, row.previous) == (1, head, GENESIS.id)
    assert await system.length() == 101  # it is kept from the snapshot before

    system.ahead = timedelta(milliseconds=SCARCE_SETTLE_MS)
    head = await system.append(author.write(k0="new"))
    await system.compaction.run(BOARD)
    row = await system.snapshot()
    assert (row.version, row.cursor) == (2, head)
    assert await system.length() == 2
    assert (await system.items())["k0"] == "new"


@pytest.mark.parametrize("seed", [1, 2, 3, secrets.randbits(32)])
async def test_G3_racing_and_pausing_workers_lose_nothing(system: System, seed: int) -> None:
    rng = random.Random(seed)
    log = BoardLog(cast("Streams", Pausing(system.streams, rng)), cast("Snapshots", Pausing(system.snapshots, rng)))
    system.ahead = timedelta(days=1)  # every snapshot counts as settled: trims go as far as they ever do
    compaction = Compaction(log, InProcess(), system.now)
    acknowledged: set[str] = set()
    outcomes: list[Outcome] = []

    async def write(name: str) -> None:
        author = Author()
        for n in range(40):
            await system.append(author.write(**{f"{name}{n}": n}))
            acknowledged.add(f"{name}{n}")
            await asyncio.sleep(rng.random() * 0.01)

    async def compact(writing: asyncio.Task[Any]) -> None:
        while not writing.done():
            outcomes.append((await compaction.run(BOARD)).outcome)

    async def join(writing: asyncio.Task[Any]) -> None:
        while not writing.done():
            before = set(acknowledged)
            loaded = await log.load(BOARD)
            assert before <= items_in(loaded.snapshot.state, *loaded.updates).keys()  # G2

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(asyncio.wait([tasks.create_task(write(name)) for name in "abc"]))
        for _ in range(4):
            tasks.create_task(compact(writing))
        tasks.create_task(join(writing))
    await compaction.run(BOARD)
    await compaction.run(BOARD)
    row = await system.snapshot()
    assert items_in(row.state).keys() == acknowledged
    assert await system.length() == 1
    assert outcomes.count(Outcome.FOLDED) > 2


async def test_L7_a_worker_that_was_paused_between_load_and_store_is_refused(system: System) -> None:
    author = Author()
    await system.append(author.write(first=1))
    loaded, go = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        loaded.set()
        await go.wait()

    system.folds = InProcess(pause)
    paused = asyncio.create_task(system.worker.serve(await system.claim()))
    await loaded.wait()
    # Two others come by meanwhile, and the log is trimmed above what the paused one has read.
    system.folds = InProcess()
    await system.append(author.write(second=2))
    await system.compaction.run(BOARD)
    head = await system.append(author.write(third=3))
    await system.compaction.run(BOARD)
    go.set()
    await paused
    assert (await system.snapshot()).cursor == head
    assert await system.items() == {"first": 1, "second": 2, "third": 3}
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= DUE_AFTER_MS


async def test_G6_what_cannot_be_folded_is_quarantined_and_the_rest_is_folded(system: System) -> None:
    author = Author()
    await system.append(author.write(a=1))
    mixed = await system.append(author.write(b=2), GARBAGE, author.write(c=3))
    unreadable = await system.append_packed(b"\xc1")
    head = await system.append(author.write(d=4))
    done = await system.compaction.run(BOARD)
    row = await system.snapshot()
    assert (done.outcome, row.cursor) == (Outcome.FOLDED, head)
    assert items_in(row.state) == {"a": 1, "b": 2, "c": 3, "d": 4}
    quarantined = await system.snapshots.quarantined(BOARD)
    assert [(q.cursor, q.position, q.payload) for q in quarantined] == [(mixed, 1, GARBAGE), (unreadable, -1, b"\xc1")]
    assert all(q.reason for q in quarantined)


async def test_G6_an_unreadable_entry_alone_does_not_hold_the_cursor_back(system: System) -> None:
    head = await system.append_packed(b"\xc1")
    await system.compaction.run(BOARD)
    assert (await system.snapshot()).cursor == head


async def test_L8_a_fold_soon_after_another_keeps_the_log_of_the_snapshot_before_both(system: System) -> None:
    """A database that fails over to a replica which lags by seconds lacks both, and finds its entries."""
    author = Author()
    await system.append(author.write(a=1))
    await system.compaction.run(BOARD)
    system.ahead = timedelta(milliseconds=SCARCE_SETTLE_MS)
    before = await system.snapshot()
    await system.append(author.write(b=2))
    await system.compaction.run(BOARD)
    system.ahead = timedelta()
    head = await system.append(author.write(c=3))
    await system.compaction.run(BOARD)
    row = await system.snapshot()
    assert (row.version, row.cursor, row.previous) == (3, head, before.cursor.id)
    assert (await system.streams.read(BOARD))[0].cursor == before.cursor


async def test_L6_a_log_that_is_replaced_before_the_trim_is_rebased_and_nothing_new_is_trimmed(system: System) -> None:
    await system.append(Author().write(old=1))

    async def lose() -> None:
        await system.replace_log()
        await system.append(Author().write(new=2))

    system.folds = InProcess(lose)
    done = await system.compaction.run(BOARD)
    row = await system.snapshot()
    assert done.outcome is Outcome.FOLDED
    assert items_in(row.state) == {"old": 1, "new": 2}
    entries = await system.streams.read(BOARD)
    assert [unpack(entry.payload).kind for entry in entries] == [EntryKind.ANCHOR, EntryKind.UPDATES, EntryKind.REBASE]
    assert row.cursor == entries[-1].cursor == done.covered


async def test_L6_a_log_without_the_snapshots_entry_is_rebased_before_it_is_folded(system: System) -> None:
    await system.append(Author().write(old=1))
    await system.compaction.run(BOARD)
    before = await system.snapshot()
    await system.replace_log()
    new = await system.append(Author().write(new=2))
    seen: list[EntryKind] = []

    async def look() -> None:
        seen.extend(unpack(entry.payload).kind for entry in await system.streams.read(BOARD))

    system.folds = InProcess(look)
    done = await system.compaction.run(BOARD)
    row = await system.snapshot()
    assert done.outcome is Outcome.FOLDED
    assert seen[-1] is EntryKind.REBASE
    assert row.cursor.id > before.cursor.id
    assert items_in(row.state) == {"old": 1, "new": 2}
    # A database that fails over to the snapshot before still finds all that this one lacks.
    assert new in [entry.cursor for entry in await system.streams.read(BOARD)]
    assert row.previous == EntryId(0, 0)


async def test_L6_workers_that_find_a_rebase_do_not_add_another(system: System) -> None:
    await system.append(Author().write(old=1))
    await system.compaction.run(BOARD)
    cursor = (await system.snapshot()).cursor
    await system.replace_log()
    await system.streams.rebase(BOARD, cursor, Tag("cccccccccccc"))
    await system.compaction.run(BOARD)
    kinds = [unpack(entry.payload).kind for entry in await system.streams.read(BOARD)]
    assert kinds.count(EntryKind.REBASE) == 1


async def test_L8_a_log_that_is_gone_is_left_to_the_next_writer(system: System) -> None:
    await system.append(Author().write(a=1))
    await system.compaction.run(BOARD)
    await system.redis.delete(system.keys.log(BOARD))
    done = await system.compaction.run(BOARD)
    assert (done.outcome, done.again_after_ms) == (Outcome.SKIPPED, None)
    assert await system.length() == 0
    assert await system.items() == {"a": 1}


async def test_L8_a_trim_that_was_cut_off_after_the_store_is_made_up_for(system: System) -> None:
    author = Author()
    await system.append(author.write(a=1))
    await system.compaction.run(BOARD)
    system.ahead = timedelta(milliseconds=SCARCE_SETTLE_MS)
    kept_from = (await system.snapshot()).cursor
    head = await system.append(author.write(b=2))

    class Dying(Pausing):
        def __getattr__(self, name: str) -> Any:
            if name == "trim":
                raise StorageUnavailable("Redis is away.")
            return getattr(self._store, name)

    log = BoardLog(cast("Streams", Dying(system.streams, random.Random())), system.snapshots)
    with pytest.raises(StorageUnavailable):
        await Compaction(log, InProcess(), system.now).run(BOARD)
    assert (await system.snapshot()).cursor == head
    assert await system.length() == 3
    done = await system.compaction.run(BOARD)
    assert done.outcome is Outcome.TRIMMED
    assert [entry.cursor for entry in await system.streams.read(BOARD)] == [kept_from, head]


async def test_a_state_that_nobody_could_load_is_not_stored(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction_module, "STATE_BYTES_MAX", 100)
    await system.append(Author().write(a="x" * 100))
    with pytest.raises(BoardTooLarge):
        await system.compaction.run(BOARD)
    assert (await system.snapshot()).version == 0
    assert await system.items() == {"a": "x" * 100}


async def test_a_board_that_is_gone_needs_nothing_more(system: System) -> None:
    assert await system.compaction.run(BoardId("nobody")) == Done(Outcome.GONE, None, None)
