"""Writes of agents: compose against the board's copy, append, answer when the log has it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from boardlog.appender import Appender
from boardlog.errors import BoardLogError, LogFull, StorageUnavailable
from boardlog.ids import BoardId, EntryId
from boardlog.stream import Appended
from boardlog.update import validate
from bridge.intents import intent
from bridge.replicas import Held, Replicas

log = structlog.get_logger()

APPEND_SECONDS_MAX = 25.0
"""Longer than the appender tries (retry.RETRY_SECONDS_MAX), so that its answer is the one that counts."""

Records = Mapping[str, Any]
Changes = Mapping[str, dict[str, Any] | None]


class _Answer:
    """Waits for one append (appender.Source). A failed one makes the copy it came from unusable (L15)."""

    def __init__(self, on_failed: Callable[[], None]) -> None:
        self.appended: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._on_failed = on_failed

    def logged(self, updates: int, appended: Appended) -> None:  # noqa: ARG002  it hands in one update at a time
        if not self.appended.done():
            self.appended.set_result(appended)

    def append_failed(self, error: BoardLogError) -> None:
        # The copy holds a change that may not be in the log: its client id must never write again (L15).
        self._on_failed()
        if not self.appended.done():
            self.appended.set_exception(error)


class Writer:
    """Changes boards on behalf of agents, one change of a board at a time."""

    def __init__(self, replicas: Replicas, appender: Appender, clock: Callable[[], float]) -> None:
        """Write to the boards that `replicas` holds copies of."""
        self._replicas = replicas
        self._appender = appender
        self._clock = clock
        self._restoring: dict[BoardId, asyncio.Task[None]] = {}

    async def write(self, board: BoardId, compose: Callable[[Records], Changes]) -> EntryId | None:
        """Change a board; return the entry that says so once it is in the log (G1), or None if nothing changed.

        `compose` gets the records as they stand, and may raise to refuse. Raises BoardNotFound, StorageUnavailable;
        LogFull if nothing can be appended just now (G5).
        Cancelled while the append is under way, the change is still made.
        """
        async with self._replicas.use(board) as held, held.lock:
            self._refuse_if_full()
            before = held.replica.records
            changes = compose(before)
            items = held.replica.items_of(changes)
            meant = [
                intent(key, before[key], record, items[key], self._clock())
                for key, record in changes.items()
                if record is not None and isinstance(before.get(key), dict)
            ]
            # Before the append: a person's record that undoes the change may be here before the log has answered.
            for key in changes.keys() - {one.key for one in meant}:
                held.intents.forget(key)
            for one in meant:
                held.intents.add(one)
            held.replica.on_entries = lambda updates: self._look_after(held, updates)
            return await self._append(held, changes)

    def _refuse_if_full(self) -> None:
        """An agent is told to come back, where a browser's socket would not be read (G5)."""
        if not self._appender.has_room:
            raise LogFull("The boards' log is full just now: nothing was written, try again later.")

    async def _append(self, held: Held, changes: Changes) -> EntryId | None:
        replica = held.replica
        if replica.error is not None:
            raise replica.error
        if held.is_dropped:
            raise StorageUnavailable("The board's copy was dropped meanwhile: try again.")
        given_up = StorageUnavailable("A write to this board was given up: try again.")
        try:
            update = replica.change(changes)
            if not update or validate(update).is_empty:
                return None
        except BaseException:  # pycrdt's panics too
            # The copy holds all of the change, or half, that the log will never have: whatever it wrote next would
            # wait for that for ever, on every screen (L15).
            replica.failed(given_up)
            raise
        answer = _Answer(lambda: replica.failed(given_up))
        self._appender.append(replica.board, update, answer)
        async with asyncio.timeout(APPEND_SECONDS_MAX):
            return (await answer.appended).cursor.id

    def _look_after(self, held: Held, updates: Sequence[bytes]) -> None:
        """After others' entries: if one of them undid what an agent meant, without sight of it, write that again."""
        if held.intents.are_none:
            return
        held.intents.answered(held.replica.overwritten(updates))
        board = held.replica.board
        if board in self._restoring or not held.intents.undone(held.replica.records, self._clock()):
            return
        task = asyncio.create_task(self._restore(held))
        self._restoring[board] = task
        task.add_done_callback(lambda _: self._restoring.pop(board, None))

    async def _restore(self, held: Held) -> None:
        board = held.replica.board
        try:
            async with held.lock:
                self._refuse_if_full()
                undone = held.intents.undone(held.replica.records, self._clock())
                held.intents.written(held.replica.items_of(undone))
                await self._append(held, undone)
                log.info("intent_restored", board=board)
        except (BoardLogError, TimeoutError) as error:
            log.warning("intent_not_restored", board=board, reason=str(error))
