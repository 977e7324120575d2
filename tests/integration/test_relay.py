"""Relays as processes, stock y-websocket clients, no affinity."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pycrdt import Doc, Map

from boardlog.access import EVERY_BOARD, new_key
from boardlog.grant import Role
from boardlog.ids import GENESIS, BoardId
from boardlog.snapshots import Snapshot
from tests.balancer import RoundRobin
from tests.rawclient import framed, raw_client
from tests.services import System, system
from tests.stockclient import StockClients


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


@pytest.mark.parametrize("versions", [("3", "3"), ("3", "2"), ("2", "2")])
async def test_clients_on_two_nodes_converge_after_1000_edits_each_made_at_once(world, versions) -> None:
    relays = await world.relays(2)
    async with StockClients() as clients:
        a, b = [
            await clients.open(relay.ws, world.board, key=world.editor_key, version=version)
            for relay, version in zip(relays, versions, strict=True)
        ]
        await asyncio.gather(a.wait_synced(), b.wait_synced())
        await asyncio.gather(a.set_many(1000, "a"), b.set_many(1000, "b"))
        await clients.converged(a, b, count=2000, seconds_max=30)
        late = await clients.open(relays[0].ws, world.board, key=world.editor_key)
        await late.wait_synced()
        await clients.converged(a, b, late, count=2000)


async def test_awareness_crosses_nodes_and_goes_with_its_client(world) -> None:
    relays = await world.relays(2)
    async with StockClients() as clients:
        a = await clients.open(relays[0].ws, world.board, key=world.editor_key)
        b = await clients.open(relays[1].ws, world.board, key=world.viewer_key)
        await asyncio.gather(a.wait_synced(), b.wait_synced())
        await a.set_awareness_field("user", {"name": "Ann"})
        await b.set_awareness_field("user", {"name": "Bob"})
        await b.wait_awareness(count=2, match={"user": {"name": "Ann"}})
        await a.wait_awareness(count=2, match={"user": {"name": "Bob"}})
        latecomer = await clients.open(relays[1].ws, world.board, key=world.viewer_key)
        await latecomer.wait_awareness(count=3, match={"user": {"name": "Ann"}})
        # Stock clients do not see one that has never said anything.
        await latecomer.set_awareness_field("user", {"name": "Late"})
        await b.wait_awareness(count=3, match={"user": {"name": "Late"}})
        await a.destroy()
        await b.wait_awareness(count=2, match={"user": {"name": "Late"}})


async def test_awareness_of_a_client_that_changes_its_node_is_back_at_once(world) -> None:
    """Stock servers lose it for up to 15 s: it returns with the clock at which it was declared gone."""
    relays = await world.relays(2)
    async with StockClients() as clients:
        a = await clients.open(relays[0].ws, world.board, key=world.editor_key)
        b = await clients.open(relays[1].ws, world.board, key=world.editor_key)
        await a.set_awareness_field("user", {"name": "Ann"})
        await b.wait_awareness(count=2, match={"user": {"name": "Ann"}})
        await a.move_to(relays[1].ws)
        await a.disconnect()
        await b.wait_awareness(count=1)
        await a.connect()
        await b.wait_awareness(count=2, match={"user": {"name": "Ann"}}, seconds_max=5)


async def test_G1_G2_a_killed_node_loses_nothing(world) -> None:
    relays = await world.relays(2)
    async with StockClients() as clients, RoundRobin(*(relay.url for relay in relays)) as balancer:
        balanced = f"{balancer.url}/ws"
        on_first, on_second = [await clients.open(balanced, world.board, key=world.editor_key) for _ in relays]
        await asyncio.gather(on_first.wait_synced(), on_second.wait_synced())
        await asyncio.gather(
            on_first.set_many(300, "a", per_turn=1),
            on_second.set_many(300, "b", per_turn=1),
            kill_soon(relays[0]),
        )
        await clients.converged(on_first, on_second, count=600, seconds_max=30)
        fresh = await clients.open(relays[1].ws, world.board, key=world.viewer_key)
        await fresh.wait_synced()
        await clients.converged(on_first, fresh, count=600)


async def kill_soon(relay) -> None:
    await asyncio.sleep(0)
    relay.kill()


async def test_edits_made_offline_arrive_with_the_reconnect(world) -> None:
    relays = await world.relays(2)
    async with StockClients() as clients:
        a = await clients.open(relays[0].ws, world.board, key=world.editor_key)
        b = await clients.open(relays[1].ws, world.board, key=world.editor_key)
        await asyncio.gather(a.wait_synced(), b.wait_synced())
        await a.set("before", 1)
        await b.wait_key("before")
        await a.disconnect()
        await a.set("offline", 2)
        await a.delete("before")
        await a.move_to(relays[1].ws)
        await a.connect()
        await b.wait_key("offline", 2)
        await b.wait_absent("before")


async def test_L12_joining_again_and_again_appends_nothing(world) -> None:
    relay = (await world.relays(1))[0]
    async with StockClients() as clients:
        a = await clients.open(relay.ws, world.board, key=world.editor_key)
        await a.wait_synced()
        await a.set("kept", 1)
        await a.set("gone", 1)
        await a.delete("gone")
        witness = await clients.open(relay.ws, world.board, key=world.editor_key)
        await witness.wait_key("kept")
        await clients.converged(a, witness, count=1)
        head = await world.stores.streams.head(world.board)
        for times in range(2, 6):
            await a.disconnect()
            await a.connect()
            await a.wait_synced(times=times)
            # Its answer to the node's question is on its way: awareness after it tells that it has been read.
            await a.set_awareness_field("round", times)
            await witness.wait_awareness(match={"round": times})
        assert await world.stores.streams.head(world.board) == head


async def test_L13_a_viewer_sees_and_cannot_change(world) -> None:
    relay = (await world.relays(1))[0]
    async with StockClients() as clients:
        editor = await clients.open(relay.ws, world.board, key=world.editor_key)
        await editor.set("a", 1)
        viewer = await clients.open(relay.ws, world.board, key=world.viewer_key)
        await viewer.wait_key("a")
        await viewer.set("b", 2)
        assert (await viewer.wait_closed(code=4403)).final
        await editor.set("c", 3)
        assert "b" not in await editor.dump()


@pytest.mark.parametrize(
    ("key", "board", "code"),
    [
        (None, "board", 4401),
        ("dc_wrong", "board", 4401),
        ("editor", "other", 4403),
        ("every", "missing", 4404),
        ("editor", "not.a.board", 4404),
    ],
)
async def test_who_may_not_pass_is_told_by_a_close_code(world, key, board, code) -> None:
    relay = (await world.relays(1))[0]
    await world.stores.access.create_key(every := new_key(), EVERY_BOARD, Role.VIEWER, "every board")
    key = {"editor": world.editor_key, "every": every}.get(key, key)
    async with StockClients() as clients:
        client = await clients.open(relay.ws, board, key=key)
        close = await client.wait_closed(code=code)
        assert close.final
        assert close.reason


async def test_a_browser_may_bring_its_key_as_a_subprotocol_where_no_access_log_sees_it(world) -> None:
    relay = (await world.relays(1))[0]
    await world.stores.access.create_key(spelled := "ein Schlüssel, mit Komma", world.board, Role.EDITOR, "by hand")
    async with StockClients() as clients:
        for key in (world.editor_key, spelled):
            encoded = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
            client = await clients.open(relay.ws, world.board, protocols=["board-relay", f"key.{encoded}"])
            await client.wait_synced()
        for wrong in ("key.!", "key.", "key._w", f"key.{encoded}x"):
            refused = await clients.open(relay.ws, world.board, protocols=["board-relay", wrong])
            await refused.wait_closed(code=4401)
        stranger = await clients.open(relay.ws, world.board, key=world.editor_key, protocols=["of-another-service"])
        await stranger.wait_synced()  # who offers any must be answered with one, or a browser hangs up
    assert encoded not in relay.log.read_text()


async def test_an_old_client_that_retries_is_held_back(world) -> None:
    """y-websocket 2.x knows no final codes: its second attempt is held, so that it cannot hammer the node."""
    relay = (await world.relays(1))[0]
    async with StockClients() as clients:
        client = await clients.open(relay.ws, world.board, key="dc_wrong", version="2")
        first = await client.wait_closed(code=4401)
        second = await client.wait_closed(code=4401, times=2, seconds_max=15)
        assert second.at - first.at >= 4.5
        clients.take_faults()


async def test_an_editor_of_every_board_creates_a_missing_one(world) -> None:
    relay = (await world.relays(1))[0]
    await world.stores.access.create_key(key := new_key(), EVERY_BOARD, Role.EDITOR, "every board")
    async with StockClients() as clients:
        client = await clients.open(relay.ws, "brand-new", key=key)
        await client.wait_synced()
    assert await world.stores.snapshots.load(BoardId("brand-new"))


async def test_a_revoked_key_opens_nothing_more(world) -> None:
    relay = (await world.relays(1))[0]
    async with StockClients() as clients:
        first = await clients.open(relay.ws, world.board, key=world.editor_key)
        await first.wait_synced()
        rows = await world.stores.access.list_keys(world.board)
        editor = next(row for row in rows if row.role is Role.EDITOR)
        assert await world.stores.access.revoke(editor.key_hash) == 1
        second = await clients.open(relay.ws, world.board, key=world.editor_key)
        await second.wait_closed(code=4401)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", 4400),
        (b"\x00", 4400),
        (b"\x09", 4400),
        (framed("update", b"\x01\x02\x03"), 4400),
        (framed("step1", b"\xff\xff"), 4400),
        (framed("awareness", b"\x01\x01\x01\x05nope!"), 4400),
        (framed("update", b"\x00\x00") + b"\x00", 4400),
        (framed("update", b"\x00" * (8 * 1024 * 1024 + 1)), 4413),
    ],
)
async def test_G6_bad_frames_end_their_own_connection_only(world, frame, code) -> None:
    relay = (await world.relays(1))[0]
    async with (
        raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as healthy,
        raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as bad,
    ):
        await bad.send(frame)
        assert (await bad.closed()).code == code
        await healthy.send(framed("update", an_update()))
        await healthy.receive_until("update")
    assert len(await world.stores.streams.read(world.board)) == 2  # the anchor and the healthy one's


async def test_presence_reaches_the_others_and_who_alone_said_it_is_not_sent_it_again(world) -> None:
    relay = (await world.relays(1))[0]
    url, ann_is_here, bob_is_here = f"{relay.ws}/{world.board}", b"\x07\x01\x02{}", b"\x08\x01\x02{}"
    async with (
        raw_client(url, headers={"X-API-Key": world.viewer_key}) as ann,
        raw_client(url, headers={"X-API-Key": world.viewer_key}) as bob,
    ):
        await ann.send(framed("awareness", b"\x01" + ann_is_here))
        while ann_is_here not in (await bob.receive()).body:
            pass
        await bob.send(framed("awareness", b"\x01" + bob_is_here))
        while bob_is_here not in (heard := (await ann.receive()).body):
            assert ann_is_here not in heard


async def test_G10_a_node_that_is_told_to_leave_closes_with_1012_and_exits(world) -> None:
    relays = await world.relays(2, DRAIN_SECONDS="0.5")
    async with StockClients() as clients, RoundRobin(*(relay.url for relay in relays)) as balancer:
        stayers = [
            await clients.open(f"{balancer.url}/ws", world.board, key=world.editor_key, version="3") for _ in range(6)
        ]
        for client in stayers:
            await client.wait_synced()
        await asyncio.gather(*(client.set_many(50, client.name, per_turn=5) for client in stayers), leave(relays[0]))
        await clients.converged(*stayers, count=300, seconds_max=30)
        # An attempt that the leaving node's backlog swallowed never was a connection: it is tried again elsewhere.
        codes = {close.code for client in stayers for close in await client.closes() if close.opened}
        assert codes == {1012}


async def leave(relay) -> None:
    assert await relay.terminate() == 0


async def test_a_damaged_snapshot_tells_its_clients_to_come_back(world) -> None:
    relay = (await world.relays(1))[0]
    damaged = Snapshot(world.board, 1, GENESIS, GENESIS.id, b"\xff\xff not a state", b"\x00")
    await world.stores.snapshots.store(damaged, [], replaces=GENESIS)
    async with raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as client:
        assert (await client.closed()).code == 1013


async def test_health_tells_rooms_and_connections_and_no_key_is_in_any_log(world) -> None:
    relay = (await world.relays(1, LOG_LEVEL="DEBUG"))[0]
    async with StockClients() as clients:
        client = await clients.open(relay.ws, world.board, key=world.editor_key)
        await client.wait_synced()
        refused = await clients.open(relay.ws, "other", key=world.editor_key)
        await refused.wait_closed(code=4403)
        status, body = await relay.get("/health")
        assert (status, body) == (200, {"status": "ok", "node": "relay-0", "rooms": 1, "connections": 1})
        assert (await relay.get("/ready"))[0] == 200
    await relay.terminate()
    assert world.editor_key not in relay.log.read_text()


def an_update() -> bytes:
    doc: Doc = Doc(client_id=77)
    doc.get("tldraw", type=Map)["key"] = 1.0
    return doc.get_update()
