"""Streams: the same cases against the twin, Valkey, a cluster and Redis. The rules are those of ARCHITECTURE.md."""

import asyncio
from collections.abc import Callable

import pytest

from boardlog.entry import EntryKind, Payload, pack, parse_publish, unpack
from boardlog.errors import NoLog
from boardlog.ids import GENESIS, BoardId, Cursor, EntryId, Tag
from boardlog.log import random_tag
from boardlog.stream import ENTRY_BYTES, PAGE_ENTRIES, PUBLISH_PAYLOAD_BYTES_MAX, Append, Appended
from tests.contract.stores import Logs, redis_logs

BOARD, OTHER = BoardId("board"), BoardId("other")
FAR = Cursor(EntryId(9_999_999_999_999, 5), Tag("far"))


def payload(*updates: bytes) -> bytes:
    return pack(Payload(EntryKind.UPDATES, updates or (b"update",)))


async def append(logs: Logs, content: bytes | None = None, board: BoardId = BOARD) -> Appended:
    tag = random_tag()
    (outcome,) = await logs.streams.append_many([Append(board, tag, content or payload())])
    assert isinstance(outcome, Appended)
    assert outcome.cursor.tag == tag
    return outcome


async def born(logs: Logs, anchor: Cursor = GENESIS, board: BoardId = BOARD) -> Logs:
    await logs.streams.birth(board, anchor, random_tag())
    return logs


async def test_L1_an_append_never_creates_a_log(logs: Logs) -> None:
    outcomes = await logs.streams.append_many([Append(BOARD, random_tag(), payload())])
    assert isinstance(outcomes[0], NoLog)
    assert await logs.streams.read(BOARD) == []
    assert await logs.streams.head(BOARD) is None


async def test_L1_birth_is_the_snapshots_cursor_once_whoever_races(logs: Logs) -> None:
    await asyncio.gather(*(logs.streams.birth(BOARD, GENESIS, random_tag()) for _ in range(5)))
    (anchor,) = await logs.streams.read(BOARD)
    assert (anchor.cursor, unpack(anchor.payload).kind) == (GENESIS, EntryKind.ANCHOR)
    first = await append(logs)
    assert first.previous == GENESIS
    await logs.streams.birth(BOARD, GENESIS, random_tag())
    assert len(await logs.streams.read(BOARD)) == 2


async def test_L1_ids_never_fall_below_the_anchor(logs: Logs) -> None:
    await born(logs, FAR)
    appended = await append(logs)
    assert appended.previous == FAR
    assert appended.cursor.id > FAR.id


async def test_L3_each_publish_links_to_its_predecessor(logs: Logs) -> None:
    await born(logs)
    contents = [payload(b"%d" % number) for number in range(20)]
    appended = [await append(logs, content) for content in contents]
    await until(lambda: len(logs.messages) == 20)
    previous = GENESIS
    for (channel, message), one, content in zip(logs.messages, appended, contents, strict=True):
        publish = parse_publish(message)
        assert channel == logs.keys.entries(BOARD)
        assert (publish.previous, publish.cursor, publish.payload) == (previous, one.cursor, content)
        previous = one.cursor


async def test_L3_a_large_entry_is_published_by_its_link_alone(logs: Logs) -> None:
    await born(logs)
    appended = await append(logs, payload(b"x" * PUBLISH_PAYLOAD_BYTES_MAX))
    await until(lambda: len(logs.messages) == 1)
    assert parse_publish(logs.messages[0][1]) == (GENESIS, appended.cursor, None)
    assert len((await logs.streams.read(BOARD))[1].payload) > PUBLISH_PAYLOAD_BYTES_MAX


async def test_L3_a_range_begins_with_its_anchor_by_id_and_tag(logs: Logs) -> None:
    await born(logs)
    first, second = (await append(logs)).cursor, (await append(logs)).cursor
    assert [entry.cursor for entry in await logs.streams.read_from(BOARD, GENESIS) or []] == [first, second]
    assert await logs.streams.read_from(BOARD, second) == []
    assert await logs.streams.read_from(BOARD, Cursor(first.id, Tag("other"))) is None
    assert await logs.streams.read_from(BOARD, FAR) is None
    assert await logs.streams.read_from(OTHER, GENESIS) is None


async def test_long_logs_are_read_whole(logs: Logs) -> None:
    await born(logs)
    count = 2 * PAGE_ENTRIES + 7
    for number in range(count):
        await append(logs, payload(b"%d" % number))
    whole = await logs.streams.read(BOARD)
    assert [unpack(entry.payload).updates for entry in whole[1:]] == [(b"%d" % n,) for n in range(count)]
    assert await logs.streams.read_from(BOARD, GENESIS) == whole[1:]
    assert await logs.streams.head(BOARD) == whole[-1].cursor


async def test_G5_a_range_can_be_cut_by_its_bytes(logs: Logs) -> None:
    await born(logs)
    sizes = [10, 3_000_000, 10, 10, *[100_000] * 100]  # one page is more than another
    cursors = [(await append(logs, payload(b"x" * size))).cursor for size in sizes]
    assert [entry.cursor for entry in await logs.streams.read_from(BOARD, GENESIS) or []] == cursors
    for bytes_max, count in ((1, 1), (ENTRY_BYTES, 1), (2_000_000, 2), (3_200_000, 6), (1 << 30, len(cursors))):
        cut = await logs.streams.read_from(BOARD, GENESIS, bytes_max)
        assert cut is not None
        assert [entry.cursor for entry in cut] == cursors[:count]
        assert sum(entry.size_bytes for entry in cut) >= bytes_max or cut[-1].cursor == cursors[-1]
    assert await logs.streams.read_from(BOARD, cursors[-1], 1) == []
    assert await logs.streams.read_from(BOARD, FAR, 1) is None


async def test_L4_the_audit_tells_lost_from_still_from_moved_on(logs: Logs) -> None:
    await born(logs)
    first, second = (await append(logs)).cursor, (await append(logs)).cursor
    positions = [(BOARD, first), (BOARD, second), (BOARD, Cursor(first.id, Tag("other"))), (BOARD, FAR), (OTHER, first)]
    assert await logs.streams.audit(positions) == [second, second, None, None, None]
    assert await logs.streams.audit([]) == []


async def test_L8_a_trim_spares_the_snapshots_own_entry_and_all_after_it(logs: Logs) -> None:
    await born(logs)
    cursors = [(await append(logs)).cursor for _ in range(5)]
    assert await logs.streams.trim(BOARD, cursors[3], cursors[1].id) == 2  # the anchor and the first
    assert [entry.cursor for entry in await logs.streams.read(BOARD)] == cursors[1:]
    assert await logs.streams.trim(BOARD, cursors[3], FAR.id) == 2  # never beyond its own
    assert [entry.cursor for entry in await logs.streams.read(BOARD)] == cursors[3:]
    assert (await append(logs)).previous == cursors[4]


@pytest.mark.parametrize("own", [Cursor(GENESIS.id, Tag("other")), FAR])
async def test_L8_a_trim_does_nothing_while_the_snapshots_entry_is_not_there(logs: Logs, own: Cursor) -> None:
    await born(logs)
    await append(logs)
    assert await logs.streams.trim(BOARD, own, FAR.id) is None
    assert await logs.streams.trim(OTHER, own, FAR.id) is None
    assert len(await logs.streams.read(BOARD)) == 2


async def test_L6_a_rebase_stands_above_the_head_and_the_cursor_and_is_linked(logs: Logs) -> None:
    await born(logs)
    head = (await append(logs)).cursor
    lost = Cursor(EntryId(head.id.ms + 60_000, 0), Tag("lost"))
    assert await logs.streams.rebase(BOARD, lost, random_tag())
    rebase = (await logs.streams.read(BOARD))[-1]
    assert unpack(rebase.payload).kind is EntryKind.REBASE
    assert rebase.cursor.id > max(head.id, lost.id)
    await until(lambda: len(logs.messages) == 2)
    assert parse_publish(logs.messages[1][1])[:2] == (head, rebase.cursor)
    assert not await logs.streams.rebase(BOARD, head, random_tag())  # that one is there
    assert not await logs.streams.rebase(OTHER, head, random_tag())  # no log to reconnect
    below = Cursor(EntryId(1, 0), Tag("lost too"))
    assert await logs.streams.rebase(BOARD, below, random_tag())
    assert (await logs.streams.read(BOARD))[-1].cursor.id > rebase.cursor.id


async def test_deleting_a_board_takes_its_log_and_no_other(logs: Logs) -> None:
    await born(logs)
    await born(logs, board=OTHER)
    assert {board async for board in logs.streams.boards()} == {BOARD, OTHER}
    await logs.streams.delete(BOARD)
    assert {board async for board in logs.streams.boards()} == {OTHER}
    await logs.streams.delete(BOARD)


async def test_several_boards_in_one_call_have_an_outcome_each(logs: Logs) -> None:
    await born(logs)
    appends = [Append(BOARD, random_tag(), payload()), Append(OTHER, random_tag(), payload())]
    appended, missing = await logs.streams.append_many(appends)
    assert isinstance(appended, Appended)
    assert isinstance(missing, NoLog)
    assert await logs.streams.append_many([]) == []


async def test_presence_is_published_and_not_kept(logs: Logs) -> None:
    await logs.streams.publish_presence([(BOARD, b"one"), (OTHER, b"two")])
    await until(lambda: len(logs.messages) == 2)
    assert sorted(logs.messages) == [(logs.keys.presence(BOARD), b"one"), (logs.keys.presence(OTHER), b"two")]


async def test_G5_the_memory_tells_of_what_is_appended(logs: Logs) -> None:
    await born(logs)
    before = await logs.streams.memory()
    await append(logs, payload(b"x" * 4_000_000))
    after = await logs.streams.memory()
    assert after.used_bytes - before.used_bytes > 3_000_000
    assert after.max_bytes == before.max_bytes


async def test_a_foreign_entry_stops_nobody(redis_url: str, redis_key_prefix: str) -> None:
    async with redis_logs(redis_url, redis_key_prefix) as logs:
        await born(logs)
        assert logs.redis is not None
        await logs.redis.xadd(logs.keys.log(BOARD), {"not": "ours"})
        appended = await append(logs)
        assert [entry.cursor for entry in await logs.streams.read(BOARD)][-1] == appended.cursor


async def test_a_server_that_forgot_the_scripts_is_told_them_again(redis_url: str, redis_key_prefix: str) -> None:
    async with redis_logs(redis_url, redis_key_prefix) as logs:
        await born(logs)
        assert logs.redis is not None
        await logs.redis.script_flush()
        first, second = await append(logs), await append(logs)
        assert second.previous == first.cursor


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)
