"""Marking changed boards due (L9): together, and every change is followed by a mark."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from boardlog import due as due_module
from boardlog.due import DUE_AFTER_MS, Due, Marking
from boardlog.errors import StorageUnavailable
from boardlog.ids import BoardId

BOARDS = [BoardId(f"board-{number}") for number in range(10)]


class Queue:
    """Notes marks, and may refuse some (as a Due)."""

    def __init__(self, refusals: int = 0) -> None:
        self.marks: list[set[BoardId]] = []
        self._refusals = refusals

    async def mark(self, boards: Sequence[BoardId], delay_ms: int) -> None:
        assert delay_ms == DUE_AFTER_MS
        await asyncio.sleep(0)
        if self._refusals:
            self._refusals -= 1
            raise StorageUnavailable("away")
        self.marks.append(set(boards))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.marks) < count:
                await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_module, "MARK_PAUSE_SECONDS", 0.05)


async def test_L9_what_changes_while_a_mark_is_under_way_or_just_made_is_marked_together() -> None:
    queue = Queue()
    marking = Marking(cast(Due, queue))
    marking.changed(BOARDS[:1])
    await asyncio.sleep(0)
    for board in BOARDS:  # the first one again: a worker may have released it meanwhile
        marking.changed([board])
    await queue.until(2)
    assert queue.marks == [{BOARDS[0]}, set(BOARDS)]


async def test_L9_a_mark_that_fails_is_made_again() -> None:
    queue = Queue(refusals=2)
    marking = Marking(cast(Due, queue))
    marking.changed(BOARDS[:1])
    await asyncio.sleep(0)
    marking.changed(BOARDS[1:2])
    await queue.until(1)
    assert queue.marks == [set(BOARDS[:2])]


async def test_a_change_after_a_quiet_while_is_marked_at_once() -> None:
    queue = Queue()
    marking = Marking(cast(Due, queue))
    for count in (1, 2):
        marking.changed(BOARDS[:1])
        await queue.until(count)
    assert queue.marks == [{BOARDS[0]}] * 2


async def test_L9_who_leaves_marks_at_once_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_module, "MARK_PAUSE_SECONDS", 3600.0)
    queue = Queue()
    marking = Marking(cast(Due, queue))
    marking.changed(BOARDS[:1])
    await asyncio.sleep(0)
    marking.changed(BOARDS[1:])
    await marking.flushed()
    assert queue.marks == [{BOARDS[0]}, set(BOARDS[1:])]
    await marking.flushed()
    assert len(queue.marks) == 2
