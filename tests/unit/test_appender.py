"""The node's one writer: order and outcome (L10), birth (L1), bounds (G5)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from boardlog.appender import JOINED_UPDATES_MIN, UPDATES, Appender
from boardlog.entry import unpack
from boardlog.errors import BoardLogError, BoardNotFound, LogFull, NoLog, StorageUnavailable
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.log import BoardLog
from boardlog.pacing import Limits
from boardlog.snapshots import Snapshots
from boardlog.stream import Append, Appended, Streams
from boardlog.usual import read_usual
from tests.unit.test_joining import join, moves

Outcome = Exception | None
BOARD, OTHER = BoardId("board"), BoardId("other")
HOURS = Limits(rate_free=1_000.0, pause_seconds_per_rate=1.0, pause_seconds_max=3600.0)
"""A pause that no test lives to see the end of."""


class ScriptedStreams:
    """Takes appends, and answers each attempt as the script says: None is success."""

    def __init__(self) -> None:
        self.attempts: list[list[Append]] = []
        self.logged: dict[BoardId, list[bytes]] = {}
        self.script: dict[BoardId, list[Outcome]] = {}
        self.born: list[BoardId] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._sequence = 0

    async def append_many(self, appends: Sequence[Append]) -> list[Appended | NoLog | StorageUnavailable]:
        self.attempts.append(list(appends))
        await self.gate.wait()
        return [self._append(append) for append in appends]

    def _append(self, append: Append) -> Appended | NoLog | StorageUnavailable:
        outcomes = self.script.get(append.board, [])
        outcome = outcomes.pop(0) if outcomes else None
        if outcome is not None:
            return cast(NoLog | StorageUnavailable, outcome)
        self.logged.setdefault(append.board, []).extend(unpack(append.payload).updates)
        self._sequence += 1
        return Appended(GENESIS, Cursor(EntryId(self._sequence, 0), append.tag))

    async def birth(self, board: BoardId, anchor: Cursor, rebase_tag: Tag) -> None:
        self.born.append(board)


class OneSnapshot:
    """Knows every board but `missing`."""

    def __init__(self) -> None:
        self.missing: set[BoardId] = set()

    async def load_cursor(self, board: BoardId) -> Cursor:
        if board in self.missing:
            raise BoardNotFound(f"There is no board {board}.")
        return GENESIS


class Author:
    """Records what it is told."""

    def __init__(self) -> None:
        self.logged_updates = 0
        self.errors: list[BoardLogError] = []
        self.told = asyncio.Event()

    def logged(self, updates: int, appended: Appended) -> None:
        self.logged_updates += updates
        self.told.set()

    def append_failed(self, error: BoardLogError) -> None:
        self.errors.append(error)
        self.told.set()


class World:
    def __init__(self, retry_seconds_max: float) -> None:
        self.streams = ScriptedStreams()
        self.snapshots = OneSnapshot()
        tags = iter(range(1_000_000))
        log = BoardLog(cast(Streams, self.streams), cast(Snapshots, self.snapshots), lambda: Tag(f"{next(tags):012x}"))
        self.appender = Appender(log, retry_seconds_max)


@asynccontextmanager
async def running(retry_seconds_max: float = 5.0) -> AsyncIterator[World]:
    world = World(retry_seconds_max)
    task = asyncio.create_task(world.appender.run())
    try:
        yield world
    finally:
        task.cancel()
        await asyncio.wait([task])


def numbered(start: int, stop: int) -> list[bytes]:
    return [str(number).encode() for number in range(start, stop)]


async def test_one_turn_of_the_loop_becomes_one_entry_for_each_board() -> None:
    async with running() as world:
        author = Author()
        for update in numbered(0, 10):
            world.appender.append(BOARD, update, author)
            world.appender.append(OTHER, update, author)
        await world.appender.flushed()
        assert [[append.board for append in attempt] for attempt in world.streams.attempts] == [[BOARD, OTHER]]
        assert world.streams.logged == {BOARD: numbered(0, 10), OTHER: numbered(0, 10)}
        assert author.logged_updates == 20
        assert world.appender.waiting_bytes == 0


async def test_L10_what_comes_while_an_entry_is_on_its_way_follows_it() -> None:
    async with running() as world:
        author = Author()
        world.streams.gate.clear()
        world.appender.append(BOARD, b"0", author)
        await until(lambda: len(world.streams.attempts) == 1)
        for update in numbered(1, 5):
            world.appender.append(BOARD, update, author)
        world.streams.gate.set()
        await world.appender.flushed()
        assert world.streams.logged[BOARD] == numbered(0, 5)
        assert len(world.streams.attempts) == 2


async def test_L10_an_unknown_outcome_is_repeated_with_the_same_bytes_before_anything_later() -> None:
    async with running() as world:
        author = Author()
        world.streams.script[BOARD] = [StorageUnavailable("lost"), StorageUnavailable("lost")]
        world.appender.append(BOARD, b"first", author)
        await until(lambda: len(world.streams.attempts) >= 1)
        world.appender.append(BOARD, b"second", author)
        await world.appender.flushed()
        first, *_ = world.streams.attempts[0]
        assert [attempt[0] for attempt in world.streams.attempts[:3]] == [first, first, first]
        assert world.streams.logged[BOARD] == [b"first", b"second"]
        assert author.logged_updates == 2


async def test_L10_given_up_everything_behind_it_fails_and_nothing_overtakes() -> None:
    async with running(retry_seconds_max=0.05) as world:
        first, second = Author(), Author()
        world.streams.script[BOARD] = [StorageUnavailable("lost")] * 1000
        world.appender.append(BOARD, b"first", first)
        await until(lambda: len(world.streams.attempts) >= 1)
        world.appender.append(BOARD, b"second", second)
        world.appender.append(BOARD, b"third", first)
        await world.appender.flushed()
        assert BOARD not in world.streams.logged
        assert len(first.errors) == len(second.errors) == 1
        assert world.appender.waiting_bytes == 0
        world.streams.script.clear()
        world.appender.append(BOARD, b"fourth", second)
        await world.appender.flushed()
        assert world.streams.logged[BOARD] == [b"fourth"]


async def test_another_board_is_not_held_up_by_one_that_fails() -> None:
    async with running() as world:
        author, other = Author(), Author()
        world.streams.script[BOARD] = [StorageUnavailable("lost")] * 1000
        world.appender.append(BOARD, b"stuck", author)
        world.appender.append(OTHER, b"one", other)
        await other.told.wait()
        world.appender.append(OTHER, b"two", other)
        await until(lambda: world.streams.logged.get(OTHER) == [b"one", b"two"])
        assert not author.errors
        assert not author.logged_updates


async def test_L1_a_board_without_a_log_is_born_and_then_appended_to() -> None:
    async with running() as world:
        author = Author()
        world.streams.script[BOARD] = [NoLog("none")]
        world.appender.append(BOARD, b"first", author)
        await world.appender.flushed()
        assert world.streams.born == [BOARD]
        assert world.streams.logged[BOARD] == [b"first"]
        assert author.logged_updates == 1


async def test_a_board_that_is_gone_fails_its_authors() -> None:
    async with running() as world:
        author = Author()
        world.snapshots.missing.add(BOARD)
        world.streams.script[BOARD] = [NoLog("none")]
        world.appender.append(BOARD, b"first", author)
        await world.appender.flushed()
        assert [type(error) for error in author.errors] == [BoardNotFound]
        assert world.appender.waiting_bytes == 0


async def test_G5_readers_are_held_back_while_too_much_waits(monkeypatch) -> None:
    monkeypatch.setattr("boardlog.appender.WAITING_BYTES_MAX", 10)
    async with running() as world:
        author = Author()
        world.streams.gate.clear()
        world.appender.append(BOARD, b"x" * 11, author)
        waiter = asyncio.create_task(world.appender.capacity())
        await until(lambda: len(world.streams.attempts) == 1)
        assert not waiter.done()
        world.streams.gate.set()
        await waiter


async def test_G5_while_the_logs_are_full_nothing_more_is_let_in_and_what_was_taken_goes_on() -> None:
    async with running() as world:
        author = Author()
        world.appender.append(BOARD, b"taken", author)
        world.appender.hold(is_held=True)
        waiter = asyncio.create_task(world.appender.capacity())
        await world.appender.flushed()
        assert world.streams.logged[BOARD] == [b"taken"]
        assert (waiter.done(), world.appender.has_room) == (False, False)
        world.appender.hold(is_held=False)
        await waiter
        assert world.appender.has_room


async def test_G5_room_among_what_waits_does_not_end_the_hold(monkeypatch) -> None:
    monkeypatch.setattr("boardlog.appender.WAITING_BYTES_MAX", 10)
    async with running() as world:
        world.streams.gate.clear()
        world.appender.hold(is_held=True)
        world.appender.append(BOARD, b"x" * 11, Author())
        world.streams.gate.set()
        await world.appender.flushed()
        assert not world.appender.has_room
        world.streams.gate.clear()
        world.appender.append(BOARD, b"x" * 11, Author())
        world.appender.hold(is_held=False)
        assert not world.appender.has_room


async def test_G5_a_full_redis_is_waited_for_however_long_it_takes() -> None:
    """It said that it took nothing: to send the authors away would only bring them back with all that they have."""
    async with running(retry_seconds_max=0.05) as world:
        author = Author()
        world.streams.script[BOARD] = [LogFull("full")] * 1000
        world.appender.append(BOARD, b"first", author)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await until(lambda: loop.time() - started > 0.5)
        assert not author.errors
        world.streams.script.clear()
        await world.appender.flushed()
        assert world.streams.logged[BOARD] == [b"first"]
        assert author.logged_updates == 1


async def test_entries_are_cut_by_size(monkeypatch) -> None:
    monkeypatch.setattr("boardlog.appender.ENTRY_BYTES_MAX", 10)
    async with running() as world:
        author = Author()
        updates = [b"aaaa", b"bbbb", b"cccc", b"d" * 50, b"e"]
        for update in updates:
            world.appender.append(BOARD, update, author)
        await world.appender.flushed()
        entries = [list(unpack(attempt[0].payload).updates) for attempt in world.streams.attempts]
        assert entries == [[b"aaaa", b"bbbb"], [b"cccc"], [b"d" * 50], [b"e"]]
        assert author.logged_updates == 5


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("boards", [(BOARD, OTHER), (OTHER, BOARD)])
async def test_G5_L10_a_full_node_and_a_dead_one_each_have_their_own_patience(boards: tuple[BoardId, BoardId]) -> None:
    """In one pipeline of a cluster: what the full one refuses waits, what is for the dead one is given up."""
    async with running(retry_seconds_max=0.1) as world:
        authors = {board: Author() for board in boards}
        world.streams.script = {
            BOARD: [LogFull("It is full.")] * 1000,
            OTHER: [StorageUnavailable("It is dead.")] * 1000,
        }
        for board in boards:
            world.appender.append(board, b"0", authors[board])
        await asyncio.wait_for(authors[OTHER].told.wait(), 5)
        assert len(authors[OTHER].errors) == 1
        assert not authors[BOARD].told.is_set()
        world.streams.script[BOARD].clear()
        await asyncio.wait_for(authors[BOARD].told.wait(), 5)
        assert authors[BOARD].logged_updates == 1


async def test_a_busy_board_s_next_entry_waits_for_more_and_no_other_board_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.appender.BOARD_LIMITS", HOURS)
    async with running() as world:
        author, other = Author(), Author()
        for update in numbered(0, 500):
            world.appender.append(BOARD, update, author)
        await until(lambda: author.logged_updates == 500)
        world.appender.append(BOARD, b"early", author)
        for number in range(3):
            world.appender.append(OTHER, str(number).encode(), other)
            await until(lambda number=number: other.logged_updates == number + 1)
        world.appender.append(BOARD, b"late", author)
        assert world.streams.logged[BOARD] == numbered(0, 500)
        await asyncio.wait_for(world.appender.flushed(), 10)  # which waits for no pause
        assert world.streams.logged[BOARD] == [*numbered(0, 500), b"early", b"late"]
        assert unpack(world.streams.attempts[-1][0].payload).updates == (b"early", b"late")
        assert author.logged_updates == 502


async def test_entries_of_a_busy_node_s_boards_leave_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.appender.NODE_LIMITS", Limits(10.0, 1.0, 0.5))
    async with running() as world:
        author = Author()
        world.appender.append(BOARD, b"at once", author)
        await until(lambda: author.logged_updates == 1)
        for number in range(50):
            world.appender.append(BoardId(str(number)), b"many", author)
        await until(lambda: author.logged_updates == 51)
        before = len(world.streams.attempts)
        for board in (BOARD, OTHER, BoardId("third")):
            world.appender.append(board, b"next", author)
            await asyncio.sleep(0.001)
            assert len(world.streams.attempts) == before
        await until(lambda: author.logged_updates == 54)
        assert [append.board for append in world.streams.attempts[-1]] == [BOARD, OTHER, "third"]


async def test_G10_what_lands_while_all_is_flushed_pauses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.appender.BOARD_LIMITS", HOURS)
    async with running() as world:
        author = Author()
        world.streams.gate.clear()
        for update in numbered(0, 500):
            world.appender.append(BOARD, update, author)
        await until(lambda: len(world.streams.attempts) == 1)
        world.appender.append(BOARD, b"behind", author)
        flushing = asyncio.create_task(world.appender.flushed())
        await asyncio.sleep(0)
        world.streams.gate.set()
        await asyncio.wait_for(flushing, 10)
        assert author.logged_updates == 501


async def test_G10_a_busy_node_s_pipelines_do_not_wait_while_all_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board with much behind it takes hundreds of them, one after the other, and a node that leaves has a second."""
    monkeypatch.setattr("boardlog.appender.NODE_LIMITS", Limits(10.0, 1.0, 3600.0))
    monkeypatch.setattr("boardlog.appender.ENTRY_BYTES_MAX", 1)
    async with running() as world:
        author = Author()
        world.streams.gate.clear()
        for update in numbered(0, 50):
            world.appender.append(BOARD, update, author)
        await until(lambda: len(world.streams.attempts) == 1)
        flushing = asyncio.create_task(world.appender.flushed())
        await asyncio.sleep(0)
        world.streams.gate.set()
        await asyncio.wait_for(flushing, 10)
        assert world.streams.logged[BOARD] == numbered(0, 50)


async def test_a_pause_ends_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.appender.BOARD_LIMITS", Limits(1_000, 1.0, 0.05))
    async with running() as world:
        author = Author()
        for update in numbered(0, 500):
            world.appender.append(BOARD, update, author)
        await until(lambda: author.logged_updates == 500)
        world.appender.append(BOARD, b"next", author)
        await until(lambda: author.logged_updates == 501)


async def test_a_pause_ends_when_what_waits_fills_a_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.appender.BOARD_LIMITS", HOURS)
    monkeypatch.setattr("boardlog.appender.PUBLISH_PAYLOAD_BYTES_MAX", 100)
    async with running() as world:
        author = Author()
        for update in numbered(0, 500):
            world.appender.append(BOARD, update, author)
        await until(lambda: author.logged_updates == 500)
        for _ in range(10):
            world.appender.append(BOARD, b"ten bytes.", author)
        await until(lambda: author.logged_updates == 510)


async def test_L10_an_entry_that_is_repeated_is_not_paused_nor_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardlog.appender.BOARD_LIMITS", HOURS)
    async with running() as world:
        author = Author()
        world.streams.script[BOARD] = [StorageUnavailable("lost")] * 2
        for update in numbered(0, 500):
            world.appender.append(BOARD, update, author)
        await until(lambda: author.logged_updates == 500)
        first, *others = [attempt[0] for attempt in world.streams.attempts]
        assert others == [first, first]


async def test_of_many_updates_each_author_s_are_joined_and_all_are_counted() -> None:
    async with running() as world:
        ann, ben = Author(), Author()
        anns, bens = moves(30, shapes=2, client_id=7), moves(30, shapes=3, client_id=9)
        counted = UPDATES._value.get()
        for ours, theirs in zip(anns, bens, strict=True):
            world.appender.append(BOARD, ours, ann, read_usual(ours))
            world.appender.append(BOARD, theirs, ben, read_usual(theirs))
        await world.appender.flushed()
        assert world.streams.logged[BOARD] == [*join(anns), *join(bens)]
        assert len(world.streams.logged[BOARD]) == 2
        assert (ann.logged_updates, ben.logged_updates) == (30, 30)
        assert UPDATES._value.get() == counted + 60


async def test_a_few_updates_are_logged_as_they_came() -> None:
    async with running() as world:
        updates = moves(JOINED_UPDATES_MIN - 1, shapes=1)
        for update in updates:
            world.appender.append(BOARD, update, Author(), read_usual(update))
        await world.appender.flushed()
        assert world.streams.logged[BOARD] == updates


async def test_boards_that_are_idle_are_forgotten() -> None:
    async with running() as world:
        author = Author()
        for number in range(20):
            world.appender.append(BoardId(str(number)), b"once", author)
        await world.appender.flushed()
        world.appender._forget(asyncio.get_running_loop().time() + 60)
        assert not world.appender._queues
        world.appender.append(BoardId("1"), b"again", author)
        await world.appender.flushed()
        assert author.logged_updates == 21


async def test_L10_a_board_that_is_ready_does_not_pause_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers come a little early: with another pause the board would become ready while its entry is on its way."""
    monkeypatch.setattr("boardlog.appender.BOARD_LIMITS", HOURS)
    async with running() as world:
        author, other = Author(), Author()
        for update in numbered(0, 500):
            world.appender.append(BOARD, update, author)
        await until(lambda: author.logged_updates == 500)
        world.appender.append(BOARD, b"first", author)
        world.streams.gate.clear()
        world.appender.append(OTHER, b"other", other)
        await until(lambda: len(world.streams.attempts) == 2)
        queue = world.appender._queues[BOARD]
        world.appender._go(BOARD, queue)  # what its timer does
        world.appender.append(BOARD, b"second", author)
        assert queue.pause is None
        world.streams.gate.set()
        await until(lambda: author.logged_updates == 502)
        assert world.streams.logged[BOARD] == [*numbered(0, 500), b"first", b"second"]
