"""Bugs that were made, or nearly, by relays of this kind: planted one at a time, each has to be found by some seed."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pycrdt import Doc

from boardlog import appender, follow, log, merge
from boardlog import board_state as board_state_module
from boardlog.board_state import BoardState
from boardlog.entry import Publish
from boardlog.errors import BoardLogError, StorageUnavailable
from boardlog.ids import Tag
from boardlog.merge import EMPTY_UPDATE, Folded
from boardlog.retry import retrying_forever
from boardlog.snapshots import Snapshot
from boardlog.stream import Append, RawEntry
from boardlog.twin import TwinSnapshots, TwinStreams, _Stream
from bridge.replica import Replica
from relay import protocol
from relay.connection import Connection
from relay.hub import Hub
from relay.room import Room
from relay.session import Append as AppendCommand
from tests.simulation import processes

Plant = Callable[[pytest.MonkeyPatch], None]
BUGS: dict[str, Plant] = {}


def _bug(plant: Plant) -> Plant:
    BUGS[plant.__name__.strip("_")] = plant
    return plant


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Change the code, and put it right again."""
    with pytest.MonkeyPatch.context() as patch:
        BUGS[name](patch)
        yield


@_bug
def _snapshot_loaded_before_the_stream(patch: pytest.MonkeyPatch) -> None:
    """L2: what is trimmed between the two reads is in neither."""

    async def load(self: log.BoardLog, board: Any) -> log.Loaded:
        snapshot = await self.snapshots.load(board)
        return log.assemble(snapshot, await self.streams.read(board))

    patch.setattr(log.BoardLog, "load", load)


@_bug
def _snapshot_stored_whatever_its_version(patch: pytest.MonkeyPatch) -> None:
    """L7: a worker that was paused overwrites what another one stored meanwhile."""
    store = TwinSnapshots.store

    async def careless(self: TwinSnapshots, snapshot: Any, quarantined: Any, *, replaces: Any) -> None:
        old, created_at, updated_at = self._rows[snapshot.board]
        self._rows[snapshot.board] = (
            old.__class__(old.board, snapshot.version - 1, replaces, old.previous, old.state, old.state_vector),
            created_at,
            updated_at,
        )
        await store(self, snapshot, quarantined, replaces=replaces)

    patch.setattr(TwinSnapshots, "store", careless)


@_bug
def _link_not_checked(patch: pytest.MonkeyPatch) -> None:
    """L3: a publish is applied whatever came before it."""

    def accept(self: follow.Follow, publish: Publish) -> None:
        if publish.payload is not None and publish.cursor not in self._recent:
            self._apply([RawEntry(publish.cursor, publish.payload)])

    patch.setattr(follow.Follow, "_accept", accept)


@_bug
def _entries_without_tags(patch: pytest.MonkeyPatch) -> None:
    """L3: an id that a failover gives again to other bytes is taken for the old entry."""
    patch.setattr(processes._Service, "_new_tag", lambda _: Tag("same"))


@_bug
def _trim_without_its_own_check(patch: pytest.MonkeyPatch) -> None:
    """L8: what a rolled back log now holds under low ids is cut away, though no snapshot has it."""

    async def trim(self: TwinStreams, board: Any, own: Any, keep_from: Any) -> int:
        stream = self._stream(board)
        kept = [entry for entry in stream.entries if entry.cursor.id >= own.id]
        trimmed = len(stream.entries) - len(kept)
        stream.entries = kept
        return trimmed

    patch.setattr(TwinStreams, "trim", trim)


@_bug
def _append_creates_the_stream(patch: pytest.MonkeyPatch) -> None:
    """L1: without an anchor ids may fall below the snapshot's cursor, and a reader that goes by ids passes them over.

    Alone it hurts nobody here: a log without the snapshot's own entry is noticed (L6), so that is planted with it.
    """
    append = TwinStreams._append

    def assemble(snapshot: Snapshot, raw: list[RawEntry]) -> log.Loaded:
        entries, unreadable = log.decode([entry for entry in raw if entry.cursor.id > snapshot.cursor.id])
        cursor = raw[-1].cursor if raw else snapshot.cursor
        return log.Loaded(snapshot, entries, unreadable, cursor, raw[0].cursor if raw else None, linked=True)

    def creating(self: TwinStreams, one: Append) -> Any:
        stream = self._streams.setdefault(one.board, _Stream())
        if not stream.entries:
            cursor = follow.Cursor(stream.next_id(self._clock()), one.tag)
            stream.add(cursor, one.payload)
            self._tell(one.board, cursor, cursor, one.payload)
            return appender.Appended(cursor, cursor)
        return append(self, one)

    patch.setattr(TwinStreams, "_append", creating)
    patch.setattr(log, "assemble", assemble)


@_bug
def _attached_before_the_load(patch: pytest.MonkeyPatch) -> None:
    """G2: a joiner is served from a room whose log is still being read."""
    loaded = Room.loaded

    async def join(self: Hub, board: Any) -> Room:
        opened = self._rooms.get(board) or self._open(board)
        if opened.linger is not None:
            opened.linger.cancel()
            opened.linger = None
        opened.joining += 1
        if opened.room.state is None:
            opened.room.state = BoardState(EMPTY_UPDATE, [])
            opened.room.loaded = lambda state: _quietly(opened.room, state)  # type: ignore[method-assign]
        return opened.room

    def _quietly(room: Room, state: log.Loaded) -> None:
        room.loaded = loaded.__get__(room)  # type: ignore[method-assign]
        room.state = BoardState(state.snapshot.state, state.updates)
        room.on_change()

    patch.setattr(Hub, "join", join)


@_bug
def _pending_dropped(patch: pytest.MonkeyPatch) -> None:
    """G3: what waits for something lost is not in the snapshot: a Doc does not encode it."""

    def fold(base: bytes, updates: Sequence[bytes]) -> Folded:
        doc: Doc[Any] = Doc()
        for update in (base, *updates):
            doc.apply_update(update)
        return Folded(doc.get_update(), doc.get_state(), [])

    patch.setattr(merge, "fold", fold)
    patch.setattr(processes, "fold", fold)


@_bug
def _difference_of_a_document(patch: pytest.MonkeyPatch) -> None:
    """G2: a joiner that has something is sent the difference that a Doc makes: without what waits."""

    def difference(state: bytes, state_vector: bytes) -> bytes:
        doc: Doc[Any] = Doc()
        doc.apply_update(state)
        update: bytes = doc.get_update(state_vector)
        return update

    patch.setattr(board_state_module, "difference", difference)
    patch.setattr(processes, "difference", difference)


@_bug
def _marks_lost_for_good(patch: pytest.MonkeyPatch) -> None:
    """L9: nobody sweeps, so a board whose mark was lost is never compacted."""

    async def idle(*_: Any) -> None:
        await asyncio.Event().wait()

    patch.setattr(processes, "sweep_forever", idle)


@_bug
def _writer_ends_with_its_socket(patch: pytest.MonkeyPatch) -> None:
    """L10: what was read is dropped, half of it acknowledged as saved, when the socket that brought it ends."""
    serve = Connection.serve

    async def fragile(self: Connection, room: Room) -> None:
        try:
            await serve(self, room)
        finally:
            queue = self._appender._queues.get(room.board)
            if queue is not None:
                queue.waiting = [item for item in queue.waiting if item[1] is not self]

    def append(self: Connection, update: bytes, _usual: Any = None) -> None:
        if self.room is not None:
            self._appender.append(self.room.board, update, self)
            self.drop()

    patch.setattr(Connection, "serve", fragile)
    patch.setattr(Connection, "append", append)
    patch.setattr(Connection, "logged", lambda *_: None)


@_bug
def _seen_before_logged(patch: pytest.MonkeyPatch) -> None:
    """G1: a short cut to the members of the same node."""
    receive = Room.receive

    def hasty(self: Room, member: Any, command: Any) -> None:
        if isinstance(command, AppendCommand):
            for other in self.members:
                if other is not member:
                    other.send(protocol.update(command.update))
        receive(self, member, command)

    patch.setattr(Room, "receive", hasty)


@_bug
def _saved_when_read(patch: pytest.MonkeyPatch) -> None:
    """L11: a change is told to be saved when it has come, not when it is logged."""

    def append(self: Connection, update: bytes, _usual: Any = None) -> None:
        if self.room is not None:
            self._appender.append(self.room.board, update, self)
            self.drop()

    patch.setattr(Connection, "append", append)
    patch.setattr(Connection, "logged", lambda *_: None)


@_bug
def _loss_told_to_nobody(patch: pytest.MonkeyPatch) -> None:
    """L5: a room that reloads goes on with the new state, and asks nobody for what it lacks."""

    def loaded(self: Room, state: log.Loaded) -> None:
        self.state = BoardState(state.snapshot.state, state.updates)
        self.on_change()

    patch.setattr(Room, "loaded", loaded)


@_bug
def _node_gives_nothing_back(patch: pytest.MonkeyPatch) -> None:
    """G4: what a node had read before a loss is thrown away."""
    patch.setattr(BoardState, "lost_by", lambda *_: [])


@_bug
def _bridge_gives_nothing_back(patch: pytest.MonkeyPatch) -> None:
    """G4: an agent's write that was answered and that nobody else has read is thrown away with the bridge's copy."""
    loaded = Replica.loaded

    def forgetful(self: Replica, state: log.Loaded) -> None:
        self.on_lost = lambda _: None
        loaded(self, state)

    patch.setattr(Replica, "loaded", forgetful)


@_bug
def _no_rebase(patch: pytest.MonkeyPatch) -> None:
    """L6: a log without the snapshot's entry is folded as if nothing had happened, and its readers never know."""

    async def rebase(*_: Any) -> bool:
        return False

    patch.setattr(TwinStreams, "rebase", rebase)


@_bug
def _no_audit(patch: pytest.MonkeyPatch) -> None:
    """L4: a publish that was lost is noticed when the next one comes, and that may be never."""

    async def idle(*_: Any) -> None:
        await asyncio.Event().wait()

    patch.setattr(processes, "audit_forever", idle)


@_bug
def _overtaken(patch: pytest.MonkeyPatch) -> None:
    """L10: what waits behind an append that was given up is appended all the same, and the socket goes on."""

    def fail(self: appender.Appender, batch: Any, error: BoardLogError) -> None:
        self._landed(batch)

    patch.setattr(appender.Appender, "_fail", fail)


@_bug
def _copy_kept_after_a_failed_append(patch: pytest.MonkeyPatch) -> None:
    """L15: a bridge goes on with a copy that has a change which the log never got."""
    patch.setattr(Replica, "failed", lambda self, error: None)


@_bug
def _client_id_kept_after_a_reload(patch: pytest.MonkeyPatch) -> None:
    """L15: a copy made anew writes under the id of the one before, whose changes it may lack."""
    patch.setattr(Replica, "_fresh_client_id", lambda *_: 7)


@_bug
def _quiet_clients_left_alone(patch: pytest.MonkeyPatch) -> None:
    """L16: a stock client that hears nothing for 30 s takes its server for dead."""
    patch.setattr(Connection, "look_after", lambda *_: None)


@_bug
def _shared_retry_policy(patch: pytest.MonkeyPatch) -> None:
    """G2: two boards that are repaired at once take each other's outcomes for their own, and one goes deaf."""
    shared = retrying_forever(StorageUnavailable)
    patch.setattr(follow, "retrying_forever", lambda *_: shared)
