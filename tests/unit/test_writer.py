"""Changes of agents, against a copy of the board: what is refused or undone must not cost a later change."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from pycrdt import Doc, Map

from boardlog.appender import Appender, Source
from boardlog.entry import Entry, EntryKind, Payload
from boardlog.errors import InvalidUpdate, LogFull, StorageUnavailable
from boardlog.folding import Folder
from boardlog.follow import Follow
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.log import Loaded
from boardlog.merge import EMPTY_STATE_VECTOR, EMPTY_UPDATE, Folded, fold
from boardlog.snapshots import Snapshot
from boardlog.stream import Appended
from bridge.replica import RECORDS, Replica
from bridge.replicas import Held, Replicas
from bridge.writer import Writer

BOARD = BoardId("board")
PERSON = 2**31
"""A client id as a browser has it: higher than the bridge's."""


class InProcess:
    async def fold(self, base: bytes, updates: list[bytes], board_seconds_max: float) -> Folded:
        return fold(base, updates)

    async def weigh(self, state: bytes) -> float:
        return 0.0


class Log:
    """Takes updates, and logs them when it is told to (as an Appender)."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, Source]] = []
        self.has_room = True

    def append(self, board: BoardId, update: bytes, source: Source) -> None:
        self.waiting.append((update, source))


class World:
    """One board with one copy of it (as Replicas)."""

    def __init__(self) -> None:
        self.log = Log()
        self.writer = Writer(cast(Replicas, self), cast(Appender, self.log), lambda: 0.0)
        self.held = Held(Replica(BOARD, cast(Folder, InProcess()), random.getrandbits), cast(Follow, None))
        snapshot = Snapshot(BOARD, 0, GENESIS, GENESIS.id, EMPTY_UPDATE, EMPTY_STATE_VECTOR)
        self.held.replica.loaded(Loaded(snapshot, [], [], GENESIS, GENESIS, linked=True))

    @asynccontextmanager
    async def use(self, board: BoardId) -> AsyncIterator[Held]:
        await self.held.replica.ready.wait()
        yield self.held

    def bring(self, update: bytes) -> None:
        """Hand the copy what the log brought."""
        self.held.replica.entries([Entry(GENESIS, Payload(EntryKind.UPDATES, (update,)))])

    def write(self, records: Mapping[str, Any]) -> "asyncio.Task[EntryId | None]":
        return asyncio.create_task(self.writer.write(BOARD, lambda _: records))

    async def appended(self) -> bytes:
        """Return the next update that is handed to the log, and log it."""
        for _ in range(100):
            if self.log.waiting:
                break
            await asyncio.sleep(0)
        update, source = self.log.waiting.pop(0)
        source.logged(1, Appended(GENESIS, Cursor(EntryId(7, 0), Tag("tag"))))
        return update


def too_deep() -> dict[str, Any]:
    record: dict[str, Any] = {}
    for _ in range(40):
        record = {"inner": record}
    return record


@pytest.mark.parametrize("refused", [{"shape:b": too_deep()}, {"shape:b": {"x": 1}, "shape:c": {"x": 2**70}}])
async def test_L15_a_copy_that_holds_what_the_log_was_refused_writes_no_more(refused: dict[str, Any]) -> None:
    """A person's record of nested maps is as deep as that, and an agent that moves it writes it back as a value."""
    world = World()
    with pytest.raises(BaseException) as refusal:  # noqa: PT011  pycrdt's panics have no type of their own
        await world.write(refused)
    assert isinstance(refusal.value, InvalidUpdate) or type(refusal.value).__name__ == "PanicException"
    with pytest.raises(StorageUnavailable):
        await world.write({"shape:a": {"x": 1}})
    assert world.log.waiting == []


async def test_what_a_person_undoes_before_the_log_has_answered_is_put_back_on_top() -> None:
    world = World()
    person: Doc[Any] = Doc(client_id=PERSON)
    records = person.get(RECORDS, type=Map)
    records["shape:a"] = {"x": 1, "text": "old"}
    world.bring(person.get_update())
    await world.held.replica.ready.wait()
    before = person.get_state()
    records["shape:a"] = {"x": 2, "text": "old"}  # moved without sight of what the agent writes

    writing = world.write({"shape:a": {"x": 1, "text": "new"}})
    while not world.log.waiting:
        await asyncio.sleep(0)
    world.bring(person.get_update(before))
    person.apply_update(await world.appended())
    await writing
    assert records["shape:a"] == {"x": 2, "text": "old"}  # the higher id's whole record stands
    person.apply_update(await world.appended())
    assert records["shape:a"] == {"x": 2, "text": "new"}


async def test_what_a_person_sets_back_having_seen_it_stays_set_back() -> None:
    world = World()
    person: Doc[Any] = Doc(client_id=PERSON)
    records = person.get(RECORDS, type=Map)
    records["shape:a"] = {"x": 1, "color": "black"}
    world.bring(person.get_update())
    writing = world.write({"shape:new": {"x": 9}, "shape:a": {"x": 1, "color": "red"}})
    person.apply_update(update := await world.appended())
    await writing
    world.bring(update)
    before = person.get_state()
    records["shape:a"] = {"x": 2, "color": "black"}
    world.bring(person.get_update(before))
    # A write of another record comes after whatever the bridge put back.
    await_other = world.write({"shape:b": {"x": 3}})
    person.apply_update(await world.appended())
    await await_other
    assert records["shape:a"] == {"x": 2, "color": "black"}
    assert "shape:b" in records


async def test_G5_a_write_while_the_logs_are_full_is_refused_at_once_and_never_made_later() -> None:
    world = World()
    person: Doc[Any] = Doc(client_id=PERSON)
    records = person.get(RECORDS, type=Map)
    records["shape:a"] = {"x": 1, "text": "old"}
    world.bring(person.get_update())
    await world.held.replica.ready.wait()
    world.log.has_room = False
    with pytest.raises(LogFull):
        await world.write({"shape:a": {"x": 1, "text": "new"}})
    world.log.has_room = True
    before = person.get_state()
    records["shape:a"] = {"x": 2, "text": "old"}
    world.bring(person.get_update(before))
    await world.write({})
    assert world.log.waiting == []
    writing = world.write({"shape:b": {"x": 3}})
    person.apply_update(await world.appended())
    assert await writing
    assert records["shape:a"] == {"x": 2, "text": "old"}
