"""Folding in processes that die, hang and are killed (G6, L7): real processes, a real crash of the native code."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from typing import Any

import pytest

from boardlog import children, folding
from boardlog.children import Children, WorkFailed
from boardlog.coverage import read_state
from boardlog.errors import InvalidUpdate
from boardlog.folding import Folder, FoldFailed, OutOfTime
from boardlog.merge import EMPTY_UPDATE, difference, fold
from tests import failing_fold_process, slow_fold_process
from tests.compaction_system import Author, items_in
from tests.failing_fold_process import CRASH, FAIL, GREEDY, HANG, KILLED

GARBAGE = b"\x07garbage"


@pytest.fixture
async def folder() -> AsyncIterator[Folder]:
    folder = Folder(processes_max=2, seconds_max=20.0)
    yield folder
    await folder.close()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let some updates kill, hang or fail the fold."""
    monkeypatch.setattr(children, "PROGRAM", failing_fold_process.__name__)


async def process_id(folder: Folder) -> int:
    """Return the id of a process that waits for work; start it if there is none."""
    if not folder._children._idle:
        await folder.fold(EMPTY_UPDATE, [])
    return folder._children._idle[-1]._process.pid


async def test_it_folds_like_the_function(folder: Folder) -> None:
    author = Author()
    base = author.write(a=1)
    updates = [author.write(b=2), GARBAGE, author.write(c=3)]
    assert await folder.fold(base, updates) == fold(base, updates)


async def test_it_reads_and_cuts_like_the_functions(folder: Folder) -> None:
    author = Author()
    updates = [author.write(**{f"k{n % 7}": n}) for n in range(30)]
    early, late = fold(EMPTY_UPDATE, updates[:9]), fold(EMPTY_UPDATE, updates)
    assert await folder.read(late.state) == read_state(late.state)
    assert await folder.difference(late.state, early.state_vector) == difference(late.state, early.state_vector)
    for failing in (folder.read(GARBAGE), folder.difference(GARBAGE, early.state_vector)):
        with pytest.raises(FoldFailed):
            await failing
    assert await folder.fold(EMPTY_UPDATE, updates) == late, "and goes on"


async def test_G3_a_log_too_large_for_one_fold_is_folded_in_slices(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    author = Author()
    updates = [author.write(**{f"k{n}": n}) for n in range(50)]
    updates[10] = updates[33] = GARBAGE
    expected = fold(EMPTY_UPDATE, updates)
    monkeypatch.setattr(folding, "SLICE_BYTES_MAX", 100)
    assert len(list(folding._slices(updates))) > 5
    folded = await folder.fold(EMPTY_UPDATE, updates)
    assert folded.rejected == expected.rejected == [10, 33]
    assert folded.state_vector == expected.state_vector
    # What came after the gap waits for it, and is kept.
    assert items_in(folded.state, author.write()) == items_in(expected.state)


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("bad", [CRASH, FAIL, GREEDY])
async def test_G6_updates_that_kill_or_fail_the_fold_are_found_and_the_rest_is_folded(
    folder: Folder, bad: bytes
) -> None:
    updates = [Author().write(**{f"k{n}": n}) for n in range(100)]
    updates[17] = updates[90] = bad
    others = [Author().write(other=n) for n in range(20)]
    poisoned = asyncio.create_task(folder.fold(EMPTY_UPDATE, updates))
    while not poisoned.done():  # the other boards are folded all the while
        assert (await folder.fold(EMPTY_UPDATE, others)).rejected == []
    folded = await poisoned
    assert folded.rejected == [17, 90]
    assert items_in(folded.state) == {f"k{n}": n for n in range(100) if n not in {17, 90}}


@pytest.mark.usefixtures("failing")
async def test_G6_an_update_that_hangs_the_fold_is_found() -> None:
    folder = Folder(processes_max=1, seconds_max=1.0)
    folded = await folder.fold(EMPTY_UPDATE, [Author().write(a=1), HANG])
    assert folded.rejected == [1]
    assert items_in(folded.state) == {"a": 1}
    await folder.close()


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("bad", [CRASH, FAIL, GARBAGE])
async def test_G6_a_stored_state_that_cannot_be_folded_accuses_no_update(folder: Folder, bad: bytes) -> None:
    with pytest.raises(InvalidUpdate, match="operator"):
        await folder.fold(bad, [Author().write(a=1), Author().write(b=2)])


@pytest.mark.usefixtures("failing")
async def test_G6_too_many_failures_end_the_attempt(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "FAILURES_MAX", 3)
    with pytest.raises(FoldFailed):
        await folder.fold(EMPTY_UPDATE, [CRASH] * 10)


async def test_a_program_that_does_not_start_is_no_updates_fault(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "PROGRAM", "there_is_no_such_module")
    with pytest.raises(FoldFailed):
        await folder.fold(EMPTY_UPDATE, [Author().write(a=1)])


async def test_a_slow_start_is_no_updates_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PROGRAM", slow_fold_process.__name__)
    folder = Folder(processes_max=1, seconds_max=slow_fold_process.START_SECONDS - 1)
    folded = await folder.fold(EMPTY_UPDATE, [Author().write(a=1)])
    assert folded.rejected == []
    assert items_in(folded.state) == {"a": 1}
    await folder.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_G6_a_process_that_is_killed_or_stopped_from_outside_accuses_no_update(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "WALL_FACTOR", 1)
    folder = Folder(processes_max=1, seconds_max=2.0)
    os.kill(await process_id(folder), number)
    update = Author().write(a=1)
    folded = await folder.fold(EMPTY_UPDATE, [update])
    assert folded.rejected == []
    assert items_in(folded.state) == {"a": 1}
    await folder.close()


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("updates", [[KILLED], [Author().write(a=1), KILLED]])
async def test_G3_an_update_whose_fold_is_killed_from_outside_every_time_is_not_rejected(
    folder: Folder, updates: list[bytes]
) -> None:
    """A machine that is out of memory kills the fold of honest updates too, more than once: it is tried later."""
    with pytest.raises(FoldFailed, match="SIGKILL"):
        await folder.fold(EMPTY_UPDATE, updates)


@pytest.mark.usefixtures("failing")
async def test_G3_an_update_that_fails_once_and_not_again_is_folded(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Author().write(a=1)
    do = Children.do
    requests: list[list[bytes]] = []

    async def fail_once(
        self: Children, work: int, seconds: float, base: bytes, updates: list[bytes], **more: Any
    ) -> Any:
        requests.append(updates)
        if len(requests) == 1:
            raise WorkFailed("It computed for longer than it may.")
        return await do(self, work, seconds, base, updates, **more)

    monkeypatch.setattr(Children, "do", fail_once)
    folded = await folder.fold(EMPTY_UPDATE, [update])
    assert folded.rejected == []
    assert items_in(folded.state) == {"a": 1}
    assert requests == [[update], [], [update]]  # the base alone, before anybody is accused


async def test_G3_a_board_that_takes_too_long_is_told_how_far_it_came(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "SLICE_BYTES_MAX", 1)
    updates = [Author().write(**{f"k{n}": n}) for n in range(10_000)]
    with pytest.raises(OutOfTime) as caught:
        await folder.fold(EMPTY_UPDATE, updates, board_seconds_max=0.2)
    folded, count = caught.value.partly.folded, caught.value.partly.count
    assert 0 < count < len(updates)
    assert items_in(folded.state) == {f"k{n}": n for n in range(count)}


async def test_signals_that_stop_the_service_leave_a_fold_alone(folder: Folder) -> None:
    before = await process_id(folder)
    os.kill(before, signal.SIGINT)
    os.kill(before, signal.SIGTERM)
    await folder.fold(EMPTY_UPDATE, [Author().write(a=1)])
    assert await process_id(folder) == before


async def test_a_process_is_replaced_after_so_many_folds(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "WORKS_PER_PROCESS_MAX", 2)
    first = await process_id(folder)
    await folder.fold(EMPTY_UPDATE, [])
    assert await process_id(folder) != first


async def test_no_more_processes_than_allowed(folder: Folder) -> None:
    await asyncio.gather(*(folder.fold(EMPTY_UPDATE, []) for _ in range(10)))
    assert len(folder._children._idle) == 2


async def test_a_cancelled_fold_ends_its_process(folder: Folder) -> None:
    process = await process_id(folder)
    task = asyncio.create_task(folder.fold(EMPTY_UPDATE, [Author().write(a=1)] * 2000))
    while folder._children._idle:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize("update", [b"", HANG])
def test_a_killed_service_leaves_no_process_behind(update: bytes) -> None:
    """Not even one that hangs, though nobody is left to end it."""
    program = textwrap.dedent(f"""
        import asyncio, os, signal, uvloop
        from boardlog import children, folding

        async def main():
            children.PROGRAM = "{failing_fold_process.__name__}"
            folder = folding.Folder(seconds_max=1.0)
            await folder.fold(bytes(2), [])
            folding_on = asyncio.create_task(folder.fold(bytes(2), [{update!r}]))
            while folder._children._idle:
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGKILL)

        uvloop.run(main())
    """)
    # The service and its process share this pipe: it ends when both are gone.
    service = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, timeout=30, check=False)
    assert service.returncode == -signal.SIGKILL
    assert service.stderr == b""
