"""Redis that is more than one server: what a writer and a listener of ours see when a master is replaced or dies."""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from boardlog import redis as redis_module
from boardlog.entry import EntryKind, Payload, pack, parse_publish
from boardlog.errors import StorageUnavailable
from boardlog.ids import GENESIS, BoardId
from boardlog.keys import Keys
from boardlog.log import random_tag
from boardlog.retry import retrying
from boardlog.scripts import Scripts
from boardlog.stream import Append, Appended, RedisStreams
from boardlog.tail import Tail
from tests.balancer import RoundRobin
from tests.valkeys import Cluster, Guarded, ask, info, port_of, running_cluster, running_guarded, until

BOARD = BoardId("board")
KEYS = Keys()


@dataclass(slots=True)
class Ear:
    """Notes what was heard of a board."""

    subscriptions: int = 0
    cursors: list[object] = field(default_factory=list)

    def subscribed(self) -> None:
        self.subscriptions += 1

    def received(self, message: bytes) -> None:
        self.cursors.append(parse_publish(message).cursor)


@dataclass(slots=True)
class Process:
    """What a service has of Redis."""

    streams: RedisStreams
    tail: Tail

    async def append(self, board: BoardId = BOARD) -> Appended:
        """Append as the appender does: the same bytes again until they are in the log (L10)."""
        append = Append(board, random_tag(), pack(Payload(EntryKind.UPDATES, (b"update",))))
        async for attempt in retrying():
            with attempt:
                (outcome,) = await self.streams.append_many([append])
                if isinstance(outcome, StorageUnavailable):
                    raise outcome
        assert isinstance(outcome, Appended)
        return outcome

    async def hears(self, ear: Ear, cursor: object) -> None:
        async def heard() -> bool:
            return cursor in ear.cursors

        await until(heard)

    async def listen(self, board: BoardId = BOARD) -> Ear:
        ear = Ear()
        self.tail.listen(KEYS.entries(board), ear)
        await self.subscribed(ear, 1)
        return ear

    async def subscribed(self, ear: Ear, times: int) -> None:
        async def often_enough() -> bool:
            return ear.subscriptions >= times

        await until(often_enough)


@asynccontextmanager
async def process(url: str) -> AsyncIterator[Process]:
    redis = redis_module.connect(url)
    scripts = Scripts(redis)
    tail = Tail(redis)
    running = asyncio.create_task(tail.run())
    streams = RedisStreams(redis, scripts, KEYS)
    try:
        yield Process(streams, tail)
    finally:
        running.cancel()
        await asyncio.gather(running, streams.marking.flushed(), return_exceptions=True)
        await redis.aclose()


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with running_guarded(tmp_path) as made:
        yield made


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as made:
        yield made


@pytest.mark.parametrize("fault", ["killed", "stopped"])
async def test_L10_L14_writer_and_listener_go_over_to_the_new_master(guarded: Guarded, fault: str) -> None:
    async with process(guarded.url) as ours:
        ear = await ours.listen()
        await ours.streams.birth(BOARD, GENESIS, random_tag())
        await ours.hears(ear, (await ours.append()).cursor)
        if fault == "killed":
            await guarded.master.kill()
        else:
            os.kill(guarded.master.pid, signal.SIGSTOP)  # no connection breaks
        await until(guarded.is_replaced)
        await ours.subscribed(ear, 2)
        after = (await ours.append()).cursor
        await ours.hears(ear, after)
        assert (await ask(guarded.replicas[0], "XINFO STREAM", KEYS.log(BOARD)))["last-generated-id"] == str(after.id)
        if fault == "stopped":
            os.kill(guarded.master.pid, signal.SIGCONT)


async def test_L10_a_replaced_master_gets_no_entry_once_sentinel_names_another(guarded: Guarded) -> None:
    """It would take them for some ten seconds more, and lose them."""
    async with process(guarded.url) as ours:
        ear = await ours.listen()
        await ours.streams.birth(BOARD, GENESIS, random_tag())
        await ours.append()
        await guarded.failover()
        await ours.subscribed(ear, 2)
        assert (await info(guarded.master, "replication"))["role"] == "master"  # it does not know yet
        length = await ask(guarded.master, "XLEN", KEYS.log(BOARD))
        appended = await asyncio.gather(*(ours.append() for _ in range(20)))
        await ours.hears(ear, appended[-1].cursor)
        assert await ask(guarded.master, "XLEN", KEYS.log(BOARD)) == length


async def test_L10_a_writer_leaves_a_server_that_is_read_only_by_now(guarded: Guarded) -> None:
    """One address that leads to another server after a failover, as managed services have it."""
    first, second = guarded.master, guarded.replicas[0]
    async with RoundRobin(f"redis://{first.address}") as balancer:
        address = first.url.replace(first.address, urlsplit(balancer.url).netloc)
        async with process(address) as ours:
            await ours.streams.birth(BOARD, GENESIS, random_tag())
            await ours.append()
            balancer.backends = [f"redis://{second.address}"]
            await ask(second, "REPLICAOF", "NO", "ONE")
            await ask(first, "REPLICAOF", "127.0.0.1", port_of(second))  # its connections stay
            after = await ours.append()
            assert (await ask(second, "XINFO STREAM", KEYS.log(BOARD)))["last-generated-id"] == str(after.cursor.id)


async def test_L4_L10_a_dead_node_of_a_cluster_fails_its_own_boards_only(cluster: Cluster) -> None:
    async with process(cluster.url) as ours:
        boards = [BoardId(f"board-{number}") for number in range(30)]
        for board in boards:
            await ours.streams.birth(board, GENESIS, random_tag())
        owners = {board: await _owner(cluster, KEYS.log(board)) for board in boards}
        await cluster.masters[2].kill()
        for _ in range(3):  # the connection breaks, then none can be made
            outcomes = await ours.streams.append_many([Append(board, random_tag(), b"payload") for board in boards])
            for board, outcome in zip(boards, outcomes, strict=True):
                assert isinstance(outcome, StorageUnavailable if owners[board] == 2 else Appended)
        heads = await ours.streams.audit([(board, GENESIS) for board in boards])
        assert [owners[board] for board, head in zip(boards, heads, strict=True) if head == GENESIS] == [2] * sum(
            owner == 2 for owner in owners.values()
        )
        with pytest.raises(StorageUnavailable):
            await ours.streams.audit([(board, GENESIS) for board in boards if owners[board] == 2])


async def test_L9_an_append_to_a_cluster_stands_although_its_mark_fails(cluster: Cluster) -> None:
    async with process(cluster.url) as ours:
        owner, board = await _board_beside_the_due_set(cluster)
        await ours.streams.birth(board, GENESIS, random_tag())
        await cluster.masters[owner].kill()
        for _ in range(3):
            (outcome,) = await ours.streams.append_many([Append(board, random_tag(), b"payload")])
            assert isinstance(outcome, Appended)
            await ours.streams.marking.flushed()
        assert len(await ours.streams.read(board)) == 4


async def test_L9_a_cluster_marks_no_board_before_its_entry_is_there(cluster: Cluster) -> None:
    """A worker that claims the board because of the mark must find the entry."""
    async with process(cluster.url) as ours:
        owner, board = await _board_beside_the_due_set(cluster)
        others = [BoardId(f"other-{number}") for number in range(30)]
        owners = {other: await _owner(cluster, KEYS.log(other)) for other in others}
        other = next(other for other in others if owners[other] == owner)
        for one in (board, other):
            await ours.streams.birth(one, GENESIS, random_tag())
        log = cluster.masters[await _owner(cluster, KEYS.log(board))]

        async def is_marked(one: BoardId) -> bool:
            return await ask(cluster.masters[owner], "ZSCORE", KEYS.due, one) is not None

        os.kill(log.pid, signal.SIGSTOP)
        appending = asyncio.create_task(ours.append(board))
        await ours.append(other)
        await until(lambda: is_marked(other))
        assert not await is_marked(board)
        os.kill(log.pid, signal.SIGCONT)
        await appending
        await until(lambda: is_marked(board))


async def test_L3_a_cluster_publishes_to_whichever_node_a_listener_has_and_keeps_its_links(cluster_url: str) -> None:
    board = BoardId(secrets.token_hex(8))
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(process(cluster_url)) for _ in range(6)]
        ears = [await one.listen(board) for one in processes]
        await processes[0].streams.birth(board, GENESIS, random_tag())
        appended = [await processes[number % 6].append(board) for number in range(12)]
        for one, ear in zip(processes, ears, strict=True):
            await one.hears(ear, appended[-1].cursor)
            assert ear.cursors == [entry.cursor for entry in appended]
        assert [entry.previous for entry in appended[1:]] == [entry.cursor for entry in appended[:-1]]


async def test_a_slot_that_has_moved_and_a_node_that_forgot_the_scripts_are_found_at_once(cluster: Cluster) -> None:
    async with process(cluster.url) as ours:
        await ours.streams.birth(BOARD, GENESIS, random_tag())
        first = await ours.append()
        slot = await ask(cluster.masters[0], "CLUSTER KEYSLOT", KEYS.log(BOARD))
        owner = await _owner(cluster, KEYS.log(BOARD))
        source, target = cluster.masters[owner], cluster.masters[(owner + 1) % 3]
        password = target.url.partition(":")[2].partition("@")[0].rpartition(":")[2]
        await ask(target, "CLUSTER SETSLOT", slot, "IMPORTING", await ask(source, "CLUSTER MYID"))
        await ask(source, "CLUSTER SETSLOT", slot, "MIGRATING", await ask(target, "CLUSTER MYID"))
        address = ("127.0.0.1", port_of(target))
        await ask(source, "MIGRATE", *address, "", 0, 5000, "AUTH", password, "KEYS", KEYS.log(BOARD))
        during = await ours.append()  # ASK
        for node in (target, source):
            await ask(node, "CLUSTER SETSLOT", slot, "NODE", await ask(target, "CLUSTER MYID"))
            await ask(node, "SCRIPT FLUSH")
        after = await ours.append()  # MOVED
        assert (during.previous, after.previous) == (first.cursor, during.cursor)


async def _owner(cluster: Cluster, key: str) -> int:
    """Return the number of the master that serves a key at the start."""
    slot = await ask(cluster.masters[0], "CLUSTER KEYSLOT", key)
    return slot * 3 // 16_384


async def _board_beside_the_due_set(cluster: Cluster) -> tuple[int, BoardId]:
    """Return the number of the master that has the due set, and a board whose log is on another."""
    owner = await _owner(cluster, KEYS.due)
    boards = [BoardId(f"board-{number}") for number in range(30)]
    owners = {board: await _owner(cluster, KEYS.log(board)) for board in boards}
    return owner, next(board for board in boards if owners[board] != owner)


async def test_sentinels_that_name_no_master_are_told_of_in_a_sentence_without_passwords() -> None:
    redis = redis_module.connect("redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/boards?sentinel_password=secret")
    with pytest.raises(StorageUnavailable, match="no Sentinel names a master boards that is up") as refusal:
        await redis_module.check(redis)
    assert "secret" not in str(refusal.value)
    assert len(str(refusal.value)) < 200
    await redis.aclose()


async def test_G5_a_cluster_of_one_shard_tells_its_memory_as_one_of_three_does(
    tmp_path: Path, cluster_url: str
) -> None:
    """The library answers for one node otherwise than for several: an error there would end every process."""
    async with running_cluster(tmp_path / "one", masters=1) as alone:
        for url in (alone.url, cluster_url):
            redis = redis_module.connect(url)
            try:
                used_bytes, max_bytes = await redis_module.memory(redis)
            finally:
                await redis.aclose()
            assert used_bytes > 0
            assert max_bytes == 0
