"""Logs whose server has reached its maxmemory: the same cases against the twin and Valkey (G5)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from boardctl.servers import running_valkey
from boardlog.entry import EntryKind, Payload, pack
from boardlog.errors import LogFull
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.log import random_tag
from boardlog.stream import Append, Appended
from boardlog.twin import TwinStreams
from tests.contract.stores import Logs, redis_logs, twin_logs

BOARD, OTHER = BoardId("board"), BoardId("other")
LOST = Cursor(EntryId(5, 0), Tag("lost"))


def appends() -> list[Append]:
    return [Append(BOARD, random_tag(), pack(Payload(EntryKind.UPDATES, (b"update",))))]


@pytest.fixture(params=["twin", "valkey"])
async def full(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Logs, Cursor]]:
    """Logs that are full, and the head of BOARD's."""
    if request.param == "twin":
        async with twin_logs() as logs:
            head = await filled(logs)
            assert isinstance(logs.streams, TwinStreams)
            logs.streams.memory_max_bytes = 1
            yield logs, head
    else:
        async with running_valkey(tmp_path / "valkey") as server, redis_logs(server.url, "") as logs:
            head = await filled(logs)
            assert logs.redis is not None
            await logs.redis.config_set("maxmemory", 1)
            yield logs, head


async def filled(logs: Logs) -> Cursor:
    await logs.streams.birth(BOARD, GENESIS, random_tag())
    (outcome,) = await logs.streams.append_many(appends())
    assert isinstance(outcome, Appended)
    return outcome.cursor


async def test_G5_a_full_log_refuses_what_adds_to_it_and_says_so(full: tuple[Logs, Cursor]) -> None:
    logs, head = full
    assert (await logs.streams.memory()).used_bytes > (await logs.streams.memory()).max_bytes == 1
    (outcome,) = await logs.streams.append_many(appends())
    assert isinstance(outcome, LogFull)
    with pytest.raises(LogFull):
        await logs.streams.birth(OTHER, GENESIS, random_tag())
    assert [entry.cursor for entry in await logs.streams.read(BOARD)] == [GENESIS, head]
    assert await logs.streams.read(OTHER) == []


async def test_G5_a_full_log_allows_all_that_makes_room_again(full: tuple[Logs, Cursor]) -> None:
    logs, head = full
    await logs.due.mark([BOARD], 0)
    claim = await logs.due.claim(60_000)
    assert claim is not None
    assert await logs.due.release(claim, 0)
    assert await logs.due.waiting() == 1
    assert await logs.streams.rebase(BOARD, LOST, random_tag())
    assert await logs.streams.trim(BOARD, head, head.id) == 1
