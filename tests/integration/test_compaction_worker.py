"""The worker around the passes: claims and marks (L9), sweeps, the last trim (L8), outages and the end (G5, G10)."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from boardlog.due import DUE_AFTER_MS
from boardlog.errors import InvalidUpdate, StorageUnavailable
from boardlog.folding import OutOfTime, Partly
from boardlog.ids import BoardId
from boardlog.merge import Folded, fold
from boardlog.telemetry import metrics_page
from persistence_worker.compaction import PARTLY_AGAIN_MS
from persistence_worker.plan import SETTLE_MS
from persistence_worker.sweep import Sweep
from persistence_worker.worker import FAILED_AGAIN_MS, LEASE_MS, Worker
from tests.compaction_system import BOARD, Author, InProcess, System, items_in, new_system, own_database


@pytest.fixture(scope="module")
def own_database_url(database_url: str) -> Iterator[str]:
    with own_database(database_url) as url:
        yield url


@pytest.fixture
async def system(redis_url: str, own_database_url: str) -> AsyncIterator[System]:
    async with new_system(redis_url, own_database_url) as system:
        yield system


class Flaky:
    """Stands before a store: refuses the next `failures` calls, and calls `before` first with the name of each."""

    def __init__(self, store: Any, failures: int = 0) -> None:
        self.failures = failures
        self.recovered = asyncio.Event()
        self._store = store

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise StorageUnavailable("The store is away.")
            reply = await getattr(self._store, name)(*args, **named)
            self.recovered.set()
            return reply

        return call


async def test_L9_an_append_during_the_fold_leaves_the_board_due(system: System) -> None:
    author = Author()
    await system.append(author.write(a=1))
    system.folds = InProcess(lambda: system.append(author.write(b=2)))
    await system.worker.serve(await system.claim())
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= DUE_AFTER_MS


async def test_L9_an_append_around_the_release_leaves_the_board_due(system: System) -> None:
    """Whichever call comes last: the release that removes the mark, or the look at the head."""
    author = Author()
    await system.append(author.write(a=1))

    class AppendsBeforeRelease(Flaky):
        def __getattr__(self, name: str) -> Any:
            async def call(*args: Any, **named: Any) -> Any:
                if name == "release":
                    await system.append(author.write(b=2))
                return await getattr(self._store, name)(*args, **named)

            return call

    worker = Worker(AppendsBeforeRelease(system.due), system.streams, system.compaction, boards_max=1)
    await worker.serve(await system.claim())
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= DUE_AFTER_MS


async def test_L9_a_sweep_marks_what_nobody_marked(system: System) -> None:
    await system.append(Author().write(a=1))
    await system.redis.delete(system.keys.due)
    sweep = Sweep(system.streams, system.snapshots, system.due)
    assert await sweep.run() == 1
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= DUE_AFTER_MS


async def test_L9_a_sweep_leaves_alone_what_is_folded_leased_or_marked(system: System) -> None:
    sweep = Sweep(system.streams, system.snapshots, system.due)
    assert await sweep.run() == 0
    assert await system.due_in_ms() is None
    await system.append(Author().write(a=1))
    await system.due.mark([BOARD], 1_000)
    before = await system.redis.zscore(system.keys.due, BOARD)
    assert await sweep.run() == 1
    assert await system.redis.zscore(system.keys.due, BOARD) == before


async def test_L6_a_sweep_finds_a_log_that_lacks_its_snapshots_entry(system: System) -> None:
    await system.append(Author().write(a=1))
    await system.compaction.run(BOARD)
    await system.replace_log()
    await system.redis.delete(system.keys.due)
    assert await Sweep(system.streams, system.snapshots, system.due).run() == 1
    assert await system.due_in_ms() is not None


async def test_L9_a_sweep_takes_many_boards_page_by_page(system: System) -> None:
    boards = [BoardId(f"b{n}") for n in range(250)]
    for board in boards:
        await system.snapshots.create(board)
        await system.log.birth(board)
    lost = boards[::50]
    for board in lost:
        await system.redis.xadd(system.keys.log(board), {"t": "ffffffffffff", "p": b"\x92\x00\x90"})
    assert await Sweep(system.streams, system.snapshots, system.due).run() == len(lost)
    scores = [await system.redis.zscore(system.keys.due, board) for board in boards]
    assert [board for board, score in zip(boards, scores, strict=True) if score is not None] == lost


async def test_L8_an_idle_board_ends_with_one_entry_and_is_not_due(system: System) -> None:
    author = Author()
    await system.append(author.write(a=1))
    head = await system.append(author.write(b=2))
    await system.worker.serve(await system.claim())
    assert await system.length() == 3
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert DUE_AFTER_MS < due_in_ms <= SETTLE_MS
    system.settle()
    await system.worker.serve(await system.claim())
    assert [entry.cursor for entry in await system.streams.read(BOARD)] == [head]
    assert await system.due_in_ms() is None
    assert (await system.snapshot()).version == 1
    assert await system.items() == {"a": 1, "b": 2}


async def test_L8_a_board_that_becomes_due_too_early_keeps_its_log_and_stays_due(system: System) -> None:
    """A client came and left again right after the fold: a database that fails over would still need the log."""
    await system.append(Author().write(a=1))
    await system.worker.serve(await system.claim())
    await system.worker.serve(await system.claim())
    assert await system.length() == 2
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert DUE_AFTER_MS < due_in_ms <= SETTLE_MS


async def test_L8_an_edit_does_not_wait_for_the_last_trim(system: System) -> None:
    author = Author()
    await system.append(author.write(a=1))
    await system.worker.serve(await system.claim())
    await system.append(author.write(b=2))
    await system.streams.marking.flushed()  # within a second it is done by itself
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= DUE_AFTER_MS


async def test_G5_an_outage_is_waited_out_and_reported_once(system: System) -> None:
    await system.append(Author().write(a=1))
    system.snapshots = away = Flaky(system.snapshots, failures=5)
    with capture_logs() as logs:
        await system.worker.serve(await system.claim())
    assert away.failures == 0
    assert (await system.snapshot()).version == 1
    assert [line["event"] for line in logs if "storage" in line["event"]] == ["waiting_for_storage", "storage_is_back"]


async def test_G5_a_claim_that_fails_is_tried_again(system: System) -> None:
    await system.append(Author().write(a=1))
    await system.due.mark([BOARD], 0)
    stored = asyncio.Event()

    class Telling(Flaky):
        def __getattr__(self, name: str) -> Any:
            async def call(*args: Any, **named: Any) -> Any:
                if name == "claim" and self.failures:
                    self.failures -= 1
                    raise StorageUnavailable("Redis is away.")
                reply = await getattr(self._store, name)(*args, **named)
                if name == "release":
                    stored.set()
                return reply

            return call

    worker = Worker(Telling(system.due, 3), system.streams, system.compaction, boards_max=1, jitter=lambda *_: 0.0)
    stop = asyncio.Event()
    with capture_logs() as logs:
        running = asyncio.create_task(worker.run(stop))
        await stored.wait()
        stop.set()
        await running
    assert (await system.snapshot()).version == 1
    assert [line["event"] for line in logs if "storage" in line["event"]] == ["waiting_for_storage", "storage_is_back"]


class Unfoldable:
    """Cannot fold the state it is given, and takes a while to find out."""

    def __init__(self, seconds: float = 0) -> None:
        self._seconds = seconds

    async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        await asyncio.sleep(self._seconds)
        raise InvalidUpdate("The board's stored state cannot be folded: it needs an operator.")


async def test_G6_a_board_that_needs_an_operator_is_tried_again_later(system: System) -> None:
    await system.append(Author().write(a=1))
    system.folds = Unfoldable()
    with capture_logs() as logs:
        await system.worker.serve(await system.claim())
    (line,) = (line for line in logs if line["log_level"] == "error")
    assert (line["event"], line["board"]) == ("compaction_failed", BOARD)
    assert "operator" in line["reason"]
    assert "exc_info" not in line
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert DUE_AFTER_MS < due_in_ms <= FAILED_AGAIN_MS


class TooDear:
    """Folds only the first updates in time."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        raise OutOfTime("The board is too dear to fold.", Partly(fold(base, updates[: self.count]), self.count))


async def test_G3_of_a_board_that_takes_too_long_the_beginning_is_stored_and_the_rest_comes_later(
    system: System,
) -> None:
    author = Author()
    await system.append(author.write(a=1), b"rubbish")
    covered = await system.append(author.write(b=2))
    await system.append(author.write(c=3), b"more rubbish", author.write(d=4))
    system.folds = TooDear(count=5)
    await system.worker.serve(await system.claim())
    snapshot = await system.snapshot()
    assert snapshot.cursor == covered, "of the third entry not all was in time"
    assert [skipped.payload for skipped in await system.snapshots.quarantined(BOARD)] == [b"rubbish"]
    loaded = await system.log.load(BOARD)
    assert items_in(fold(loaded.snapshot.state, loaded.updates).state) == {"a": 1, "b": 2, "c": 3, "d": 4}
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms <= PARTLY_AGAIN_MS
    system.folds = InProcess()
    await system.worker.serve(await system.claim())
    assert len(await system.snapshots.quarantined(BOARD)) == 2
    assert items_in((await system.snapshot()).state) == {"a": 1, "b": 2, "c": 3, "d": 4}


async def test_G6_a_board_of_which_nothing_could_be_folded_in_time_is_put_off_and_named(system: System) -> None:
    await system.append(Author().write(a=1), Author().write(b=2))
    system.folds = TooDear(count=1)
    with capture_logs() as logs:
        await system.worker.serve(await system.claim())
    assert (await system.snapshot()).version == 0
    assert [line["board"] for line in logs if line["event"] == "compaction_failed"] == [BOARD]
    assert f'compaction_failures_total{{board="{BOARD}"}}' in metrics_page()[0].decode()
    assert await system.items() == {"a": 1, "b": 2}


async def test_G6_a_board_that_failed_after_a_long_time_waits_ten_times_as_long(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("persistence_worker.worker.FAILED_AGAIN_MS", 0)
    monkeypatch.setattr("persistence_worker.worker.FAILED_AGAIN_FACTOR", 1_000_000)
    await system.append(Author().write(a=1))
    system.folds = Unfoldable(seconds=0.01)
    await system.worker.serve(await system.claim())
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms > FAILED_AGAIN_MS


async def test_G10_a_worker_that_is_told_to_stop_finishes_its_board(system: System) -> None:
    await system.append(Author().write(a=1))
    await system.due.mark([BOARD], 0)
    stop = asyncio.Event()

    async def told_to_stop() -> None:
        stop.set()

    system.folds = InProcess(told_to_stop)
    await system.worker.run(stop)
    assert (await system.snapshot()).version == 1
    assert await system.redis.hlen(system.keys.leases) == 0


async def test_G10_a_worker_that_is_cancelled_gives_its_board_to_the_others(system: System) -> None:
    await system.append(Author().write(a=1))
    claim = await system.claim()
    folding = asyncio.Event()

    async def never_ends() -> None:
        folding.set()
        await asyncio.Event().wait()

    system.folds = InProcess(never_ends)
    worker = system.worker
    serving = asyncio.create_task(worker.serve(claim))
    await folding.wait()
    assert worker.boards == {BOARD}
    due_in_ms = await system.due_in_ms()
    assert due_in_ms is not None
    assert due_in_ms > LEASE_MS / 2
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert worker.boards == set()
    again = await system.due.claim(LEASE_MS)
    assert again is not None
    assert again.board == BOARD
