"""What one client may cost a whole system: large messages, large and dear updates (G6, G7). Real processes."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from boardlog.access import new_key
from boardlog.due import RedisDue
from boardlog.entry import EntryKind, Payload, pack
from boardlog.errors import InvalidUpdate
from boardlog.grant import Role
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.links import Ranges
from boardlog.log import BoardLog, random_tag
from boardlog.merge import EMPTY_UPDATE
from boardlog.scripts import Scripts
from boardlog.stream import Append
from boardlog.update import validate
from boardlog.validating import NotValidated, Validator
from tests import bombs
from tests.rawclient import HELLO, framed, raw_client
from tests.services import Service, System, system
from tests.stockclient import StockClients

LIMIT = 300_000


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


@pytest.fixture
async def validator() -> AsyncIterator[Validator]:
    made = Validator()
    yield made
    await made.close()


async def longest_answer(service: Service, done: asyncio.Event) -> float:
    """Ask a service all the while; return its longest answer in seconds."""
    longest = 0.0
    async with aiohttp.ClientSession() as client:
        while not done.is_set():
            began = time.perf_counter()
            async with client.get(f"{service.url}/health") as answer:
                await answer.read()
            longest = max(longest, time.perf_counter() - began)
            await asyncio.sleep(0.005)
    return longest


# Messages larger than a board


async def test_G6_a_stock_client_that_holds_too_much_is_told_4413_and_stays_away(world: System) -> None:
    (relay,) = await world.relays(1, BOARD_BYTES_MAX=str(LIMIT))
    async with StockClients() as clients:
        client = await clients.open(relay.ws, world.board, key=world.editor_key)
        await client.wait_synced()
        await client.disconnect()
        await client.set("note", "x" * 4 * LIMIT)
        await client.connect()
        close = await client.wait_closed(code=4413)
        assert f"{LIMIT} bytes" in close.reason
        assert close.final


@pytest.mark.parametrize("fragments", [1, 7])
async def test_G6_a_message_of_the_limit_is_taken_and_one_byte_more_is_4413(world: System, fragments: int) -> None:
    (relay,) = await world.relays(1, BOARD_BYTES_MAX=str(LIMIT))
    for size, code in ((LIMIT, 4400), (LIMIT + 1, 4413)):
        async with raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as client:
            await client.receive_until("step1")
            await send_fragments(client.socket, b"\xff" * size, fragments)
            assert (await client.closed()).code == code


async def send_fragments(socket: aiohttp.ClientWebSocketResponse, data: bytes, fragments: int) -> None:
    """Send one binary message as so many frames (RFC 6455 section 5.4), masked with zeros."""
    transport = socket._writer.transport
    step = -(-len(data) // fragments)
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    for number, piece in enumerate(pieces):
        opcode = (0x80 if number == len(pieces) - 1 else 0) | (0 if number else 2)
        transport.write(bytes([opcode, 0xFF]) + len(piece).to_bytes(8, "big") + bytes(4) + piece)


# Large changes, validated elsewhere


async def test_G7_a_large_change_is_judged_as_a_small_one_is(validator: Validator) -> None:
    update = bombs.history(keys=300, writes=2_000, clients=40)
    assert await validator.validate(update) == validate(update)
    for bad in (update[:-1], bombs.BOMBS["one place"], b"\xff" * 100_000):
        with pytest.raises(InvalidUpdate) as refused:
            await validator.validate(bad)
        with pytest.raises(InvalidUpdate) as refused_here:
            validate(bad)
        assert str(refused.value) == str(refused_here.value)
    assert await validator.validate(bombs.update_of([], {1: [(2 * clock, 1) for clock in range(50_000)]})) is None


async def test_G7_what_may_wait_to_be_validated_is_bounded(validator: Validator, monkeypatch: Any) -> None:
    update = bombs.history(keys=300, writes=2_000, clients=40)
    monkeypatch.setattr("boardlog.validating.WAITING_BYTES_MAX", 3 * len(update))
    outcomes = await asyncio.gather(*(validator.validate(update) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(outcome, Ranges) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, NotValidated) for outcome in outcomes) == 2
    assert isinstance(await validator.validate(update), Ranges)


async def test_G7_a_large_board_does_not_hold_up_smaller_changes(validator: Validator, monkeypatch: Any) -> None:
    monkeypatch.setattr("boardlog.validating.LARGE_BYTES", 500_000)
    large, small = bombs.history(keys=20_000, writes=15_000, clients=40), bombs.history(keys=30, writes=300, clients=4)
    waiting = [asyncio.create_task(validator.validate(large)) for _ in range(4)]
    await asyncio.sleep(0)
    await validator.validate(small)
    assert not any(task.done() for task in waiting[1:])
    await asyncio.gather(*waiting)


async def test_G6_a_process_that_is_killed_while_it_validates_refuses_nothing(validator: Validator) -> None:
    update = bombs.history(keys=3_000, writes=20_000, clients=40)
    await validator.validate(EMPTY_UPDATE)
    process = validator._children._idle[-1]._process
    validating = asyncio.create_task(validator.validate(update))
    while validator._children._idle:
        await asyncio.sleep(0)
    process.kill()
    with pytest.raises(NotValidated):
        await validating
    assert isinstance(await validator.validate(update), Ranges)


async def test_G7_a_relay_serves_others_while_a_large_board_comes_in(world: System) -> None:
    """A long history in tiny structs: it took the relay's event loop seconds to look through."""
    (relay,) = await world.relays(1)
    large = bombs.history(keys=2_000, writes=60_000, clients=500, size_max=1)
    async with raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as client:
        await client.receive_until("step1")
        done = asyncio.Event()
        longest = asyncio.create_task(longest_answer(relay, done))
        began = time.perf_counter()
        await client.send(HELLO, framed("step2", large), framed("update", SMALL))
        while (await client.receive_until("saved")).number != 2:
            pass
        took = time.perf_counter() - began
        done.set()
        print(f"{len(large)} bytes were logged after {took:.1f} s; the longest answer took {await longest:.3f} s")  # noqa: T201
    loaded = await BoardLog(world.stores.streams, world.stores.snapshots).load(world.board)
    assert loaded.updates == [large, SMALL], "in the order in which they were sent (L10)"


SMALL = bombs.update_of([(77, 0, [bombs.value_of(b"small")])])


# Dear updates in a log


async def put_in_log(world: System, board: BoardId, *updates: bytes) -> None:
    """Append past all validation."""
    await world.stores.streams.append_many(
        [Append(board, random_tag(), pack(Payload(EntryKind.UPDATES, (update,)))) for update in updates]
    )


async def version_of(world: System, board: BoardId) -> int:
    return (await world.stores.snapshots.load(board)).version


async def test_G6_a_board_that_is_too_dear_to_fold_stops_no_other(world: System) -> None:
    """Each of its updates may pass; all of them claim one place, and the more there are the dearer is the next."""
    bombed, others = BoardId("bombed"), [BoardId(f"other-{number}") for number in range(4)]
    log = BoardLog(world.stores.streams, world.stores.snapshots)
    due = RedisDue(world.stores.redis, Scripts(world.stores.redis), Keys(world.redis_key_prefix))
    for board in (bombed, *others):
        await world.stores.snapshots.create(board)
        await log.birth(board)
    parts = bombs.one_place_in_parts(20, 3_000)
    for part in parts:
        validate(part)
    await put_in_log(world, bombed, *parts)
    await due.mark([bombed], 0)
    worker = await world.start("persistence_worker")
    async with asyncio.timeout(30):
        while bombed not in (await worker.get("/health"))[1]["compacting"]:
            await asyncio.sleep(0.05)
        for number in range(3):
            for board in others:
                await put_in_log(world, board, bombs.update_of([(number, 0, [bombs.value_of(b"k")])]))
            await due.mark(others, 0)
            while min([await version_of(world, board) for board in others]) <= number:
                await asyncio.sleep(0.05)
    assert (await worker.get("/health"))[1]["compacting"] == [bombed], "all the while"


async def test_G6_the_bridge_refuses_a_board_that_is_too_dear_to_read_and_serves_the_others(world: System) -> None:
    bombed = BoardId("bombed")
    log = BoardLog(world.stores.streams, world.stores.snapshots)
    await world.stores.snapshots.create(bombed)
    await log.birth(bombed)
    await put_in_log(world, bombed, *bombs.one_place_in_parts(4, 3_000))
    key = new_key()
    await world.stores.access.create_key(key, bombed, Role.EDITOR, "editor")
    bridge = await world.start("bridge")
    done = asyncio.Event()
    longest = asyncio.create_task(longest_answer(bridge, done))
    items = "{}/v1/boards/{}/items"
    async with aiohttp.ClientSession() as client:

        async def get(board: BoardId, key: str) -> tuple[int, Any]:
            while True:  # to find it out, or to start a process on a busy machine, may take longer than a request
                async with client.get(items.format(bridge.url, board), headers={"X-API-Key": key}) as answer:
                    if answer.status != 503:
                        return answer.status, await answer.json()

        refused = asyncio.create_task(get(bombed, key))
        assert await get(world.board, world.editor_key) == (200, {"items": []})
        assert not refused.done()
        status, answer = await refused
        assert status == 409
        assert "needs an operator" in answer["error"]
    done.set()
    print(f"the bridge's longest answer took {await longest:.3f} s")  # noqa: T201


async def test_G6_a_large_paste_makes_the_bridges_copy_anew_and_loses_nothing(world: System) -> None:
    bridge, relay = await asyncio.gather(world.start("bridge"), world.start("relay"))
    items, headers = f"{bridge.url}/v1/boards/{world.board}/items", {"X-API-Key": world.editor_key}
    item = {"type": "sticky", "x": 1, "y": 2, "content": {"text": "A note"}}
    paste = bombs.update_of([(7, 0, [bombs.value_of(b"shape:%d" % number) for number in range(3_000)])])
    address, key = f"{relay.ws}/{world.board}", {"apiKey": world.editor_key}
    async with raw_client(address, params=key) as person, aiohttp.ClientSession() as client:
        await person.receive_until("step1")

        async def post() -> int:
            async with client.post(items, json=item, headers=headers) as answer:
                return answer.status

        while await post() != 201:
            pass
        await person.send(HELLO, framed("update", paste))
        while (await person.receive_until("saved")).number != 1:
            pass
        while (status := await post()) != 201:
            assert status == 503
    loaded = await BoardLog(world.stores.streams, world.stores.snapshots).load(world.board)
    assert len(loaded.updates) == 3
    assert loaded.updates[1] == paste
    assert "copy_made_anew" in bridge.log.read_text()


async def test_G6_malformed_http_is_one_line_in_the_log(world: System) -> None:
    bridge = await world.start("bridge")
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(
        b"GET /health HTTP/1.1\r\nHost: a\r\nX-API-Key: dc_secret\r\nContent-Type: a\r\nContent-Type: b\r\n\r\n"
    )
    assert b" 400 " in await reader.readline()
    writer.close()
    told = [line for line in bridge.log.read_text().splitlines() if not line.startswith("{")]
    assert told == ["WARNING aiohttp.server Malformed HTTP from 127.0.0.1: BadHttpMessage"]
