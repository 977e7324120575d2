"""Rooms and who waits for them, in memory."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import cast

import pytest

from boardlog import board_state
from boardlog.appender import Appender
from boardlog.due import Due
from boardlog.entry import EntryKind, Payload, pack
from boardlog.folding import Folder
from boardlog.follow import Following
from boardlog.ids import BoardId, Tag
from boardlog.keys import Keys
from boardlog.log import BoardLog
from boardlog.merge import EMPTY_UPDATE, Folded
from boardlog.publisher import Publisher
from boardlog.stream import Append
from boardlog.tail import Listener, Tail
from boardlog.twin import TwinDue, TwinSnapshots, TwinStreams
from relay import hub
from relay.hub import Hub

BOARD = BoardId("board")


class Wire:
    """Takes every subscription at once (as a Tail)."""

    def listen(self, _channel: str, listener: Listener) -> None:
        asyncio.get_running_loop().call_soon(listener.subscribed)

    def leave(self, _channel: str, _listener: Listener) -> None:
        pass


class Hanging:
    """Never comes to an end, as where another board's update keeps the only process busy (as a Folder)."""

    async def fold(self, base: bytes, updates: Sequence[bytes]) -> Folded:
        await asyncio.Event().wait()
        raise AssertionError


async def test_G6_a_fold_that_hangs_keeps_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_state, "FOLD_UPDATES", 3)
    monkeypatch.setattr(hub, "FOLD_WAIT_SECONDS_MAX", 0.01)
    numbers = count(1)
    due = TwinDue(lambda: next(numbers))
    streams = TwinStreams(lambda: next(numbers), due, lambda _channel, _message: None)
    log = BoardLog(streams, TwinSnapshots(lambda: next(numbers)))
    await log.snapshots.create(BOARD)
    await log.birth(BOARD)
    await streams.append_many([Append(BOARD, Tag("t"), pack(Payload(EntryKind.UPDATES, (EMPTY_UPDATE,) * 5)))])
    following = Following(log, cast(Tail, Wire()), Keys())
    rooms = Hub("node", following, cast(Due, due), cast(Folder, Hanging()), Publisher(streams), Appender(log))
    room = await asyncio.wait_for(rooms.join(BOARD), 5)
    assert room.state is not None
    assert room.state.is_long
    assert room.state.parts()[1] == (EMPTY_UPDATE,) * 5
