"""The test clients themselves, tried against the stock server: what they report is what happened."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from pycrdt import Doc, Map

from tests.balancer import RoundRobin
from tests.rawclient import (
    EMPTY_STATE_VECTOR,
    Frame,
    awareness_states,
    awareness_update,
    decode,
    framed,
    raw_client,
)
from tests.stockclient import StockClientError, StockClients, Version, node

SECONDS_SHORT = 0.2


@asynccontextmanager
async def stock_server() -> AsyncIterator[str]:
    async with node("server.mjs") as process:
        assert process.stdout is not None
        yield "ws://127.0.0.1:{port}".format(**json.loads(await process.stdout.readline()))


@asynccontextmanager
async def scripted_server(script: Callable[[web.WebSocketResponse], Awaitable[object]]) -> AsyncIterator[str]:
    """Run a server that does the same to every socket."""

    async def accept(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket)
        return socket

    app = web.Application()
    app.router.add_get("/{room}", accept)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_clients_of_both_versions_converge_after_edits_made_at_once() -> None:
    async with stock_server() as url, StockClients() as clients:
        three = [await clients.open(url, "board", version=version) for version in ("3", "3", "2")]
        await asyncio.gather(*(client.wait_synced() for client in three))
        # Keys of their own in one burst each, then the same keys for all while the others' edits arrive.
        await asyncio.gather(*(client.set_many(200, client.name + ":") for client in three))
        await asyncio.gather(*(client.set_many(200, "contested", per_turn=3) for client in three))
        digest = await clients.converged(*three, count=800)
        states = [await client.state() for client in three]
        dumps = [await client.dump() for client in three]
    assert {state.digest for state in states} == {digest}
    assert dumps[0] == dumps[1] == dumps[2]
    assert {record["n"] for key, record in dumps[0].items() if key.startswith("contested")} == set(range(200))
    assert not any(state.pending or state.closes for state in states)


async def test_the_digest_tells_documents_apart_that_look_the_same() -> None:
    async with StockClients() as clients:
        one, other = [await clients.open("ws://127.0.0.1", "board", connect=False) for _ in range(2)]
        empty = await clients.converged(one, other)
        await one.set("key", 1)
        await other.set("key", 1)
        assert await one.dump() == await other.dump()
        assert len({empty, (await one.state()).digest, (await other.state()).digest}) == 3
        with pytest.raises(StockClientError, match="client-1, client-2 to converge"):
            await clients.converged(one, other, seconds_max=SECONDS_SHORT)


async def test_keys_are_awaited_read_watched_and_deleted() -> None:
    async with stock_server() as url, StockClients() as clients:
        author, reader = await clients.open(url, "board"), await clients.open(url, "board", version="2")
        await reader.watch("note")
        await author.set("note", {"x": 1.5, "text": "ü"})
        await reader.wait_key("note", {"text": "ü", "x": 1.5})
        assert abs(await reader.wait_seen("note") - time.time()) < 5  # the same clock and the same unit
        assert await reader.get("note") == {"x": 1.5, "text": "ü"}
        await author.delete("note")
        await reader.wait_absent("note")
        assert await reader.get("note") is None
        assert await clients.converged(author, reader, count=0) == (await author.state()).digest


async def test_awareness_is_seen_and_gone() -> None:
    async with stock_server() as url, StockClients() as clients:
        ann, bob = await clients.open(url, "board"), await clients.open(url, "board", version="2")
        await ann.set_awareness_field("user", {"name": "Ann"})
        await bob.set_awareness({"user": {"name": "Bob"}, "cursor": [1, 2]})
        await bob.wait_awareness(2, {"user": {"name": "Ann"}})
        await ann.wait_awareness(2, {"user": {"name": "Bob"}, "cursor": [1, 2]})
        assert (await ann.awareness())[bob.client_id] == {"user": {"name": "Bob"}, "cursor": [1, 2]}
        with pytest.raises(StockClientError, match=r"awareness of 2 clients, another showing .*Bob"):
            await bob.wait_awareness(2, {"user": {"name": "Bob"}}, seconds_max=SECONDS_SHORT)  # that is himself
        await bob.destroy()
        await ann.wait_awareness(1)
        with pytest.raises(StockClientError, match='no client "client-2"'):
            await bob.connect()


async def test_offline_edits_of_both_sides_meet_after_reconnecting() -> None:
    async with stock_server() as url, StockClients() as clients:
        away, there = await clients.open(url, "board"), await clients.open(url, "board", version="2")
        await asyncio.gather(away.wait_synced(), there.wait_synced())
        await away.disconnect()
        await away.wait_status("disconnected")
        await away.set_many(50, "away")
        await there.set_many(50, "there")
        assert (await away.state()).keys == (await there.state()).keys == 50
        await away.connect()
        await clients.converged(away, there, count=100)
        await there.cut()
        await there.wait_synced(times=2)
        away_closes, there_closes = await away.closes(), await there.closes()
    assert [(close.code, close.local, close.opened) for close in away_closes] == [(None, True, True)]
    assert [(close.code, close.local, close.opened) for close in there_closes] == [(1006, False, True)]


async def test_a_final_close_stops_only_the_version_that_knows_it() -> None:
    async with (
        scripted_server(lambda socket: socket.close(code=4404, message=b"no such board")) as url,
        StockClients() as clients,
    ):
        new, old = await clients.open(url, "board"), await clients.open(url, "board", version="2")
        close = await new.wait_closed(4404)
        assert (close.reason, close.local, close.opened, close.final) == ("no such board", False, True, True)
        assert not (await new.state()).reconnects
        await old.wait_closed(4404, times=3)
        assert (await old.state()).reconnects
        assert len(await new.closes()) == 1


async def test_parameters_and_subprotocols_reach_the_server_and_refusals_are_told() -> None:
    seen: list[tuple[str, str | None]] = []

    async def refuse(request: web.Request) -> web.Response:
        seen.append((request.path_qs, request.headers.get("Sec-WebSocket-Protocol")))
        return web.Response(status=503)

    app = web.Application()
    app.router.add_get("/{tail:.*}", refuse)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with StockClients() as clients:
            url = f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
            client = await clients.open(url, "board", key="dc_1", params={"a": "b c"}, protocols=["ticket"])
            close = await client.wait_closed(1006)
            await client.set_params({"apiKey": "dc_2"})
            await client.wait_closed(1006, times=2)
            errors = (await client.state()).connection_errors
    finally:
        await runner.cleanup()
    assert not close.opened
    assert seen[:2] == [("/ws/board?a=b%20c&apiKey=dc_1", "ticket"), ("/ws/board?apiKey=dc_2", "ticket")]
    assert errors[0] == "Unexpected server response: 503"


def sending(message: bytes) -> Callable[[web.WebSocketResponse], Awaitable[object]]:
    async def send(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(message)
        await socket.receive()

    return send


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        pytest.param(b"\x09", "console.error", "Unable to compute message", id="unknown type"),
        pytest.param(framed("update", b"\x01\x01"), "console.error", "while handling a Yjs update", id="cut update"),
        pytest.param(framed("awareness", b"\x01\x01\x01\x01{"), "uncaught", "JSON", id="bad awareness"),
    ],
)
@pytest.mark.parametrize("version", ["3", "2"])
async def test_what_a_client_complains_about_is_reported(
    version: Version, message: bytes, kind: str, text: str
) -> None:
    async with scripted_server(sending(message)) as url, StockClients() as clients:
        client = await clients.open(url, "board", version=version)
        fault = await clients.wait_fault(text)
        with pytest.raises(StockClientError) as caught:
            await client.wait_synced(seconds_max=SECONDS_SHORT)
        assert fault in clients.take_faults()
    assert "Waited 0.2 s for sync number 1" in str(caught.value)
    assert '"synced":false' in str(caught.value)
    assert text in str(caught.value)
    assert (fault.client, fault.kind) == (client.name, kind)


async def test_a_fault_that_nobody_took_fails_the_test() -> None:
    async def forget_a_fault() -> None:
        async with scripted_server(sending(b"\x09")) as url, StockClients() as clients:
            await clients.open(url, "board")
            await clients.wait_fault("Unable to compute message")

    with pytest.raises(StockClientError, match=r"did not take:\nconsole.error \(client-1\): Unable to compute"):
        await forget_a_fault()


async def test_waits_in_a_dead_process_end() -> None:
    async with stock_server() as url, StockClients() as clients:
        client = await clients.open(url, "board")
        waiting = asyncio.create_task(client.wait_key("never"))
        await client.wait_synced()
        clients.process.kill()
        with pytest.raises(StockClientError, match="The Node process ended"):
            await waiting
        with pytest.raises(StockClientError, match="The Node process has ended"):
            await client.state()


async def test_a_stuck_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.stockclient.EXIT_SECONDS_MAX", SECONDS_SHORT)
    async with StockClients() as clients:
        clients.process.send_signal(signal.SIGSTOP)
    assert clients.process.returncode == -signal.SIGKILL


async def test_a_client_moves_to_another_server_with_its_work() -> None:
    async with stock_server() as first, stock_server() as second, StockClients() as clients:
        mover, settled = await clients.open(first, "board"), await clients.open(second, "board")
        await mover.wait_synced()
        await mover.set("luggage", 1)
        await mover.move_to(second)
        await mover.cut()
        await settled.wait_key("luggage", 1)
        assert (await mover.state()).url == f"{second}/board"


async def test_the_balancer_takes_turns_and_passes_over_the_dead() -> None:
    with socket.socket() as deaf:  # bound, but not listening: connections are refused and nobody else takes the port
        deaf.bind(("127.0.0.1", 0))
        dead = f"ws://127.0.0.1:{deaf.getsockname()[1]}"
        await take_turns(dead)


async def take_turns(dead: str) -> None:
    async with (
        stock_server() as first,
        stock_server() as second,
        RoundRobin(first, dead, second) as balancer,
        StockClients() as clients,
    ):
        opened = [await clients.open(balancer.url, "board") for _ in range(6)]
        await asyncio.gather(*(client.wait_synced() for client in opened))
        assert balancer.served == {first: 2, second: 4}
        balancer.backends = [second]
        await asyncio.gather(*(client.cut() for client in opened))
        await asyncio.gather(*(client.wait_synced(times=2) for client in opened))
        assert balancer.served == {first: 2, second: 10}
        await opened[0].set("key", "value")
        await asyncio.gather(*(client.wait_key("key", "value") for client in opened))
        balancer.backends = []
        await opened[0].cut()
        assert not (await opened[0].wait_closed(1006, times=3)).opened


async def test_a_raw_client_speaks_with_a_stock_one() -> None:
    async with stock_server() as url, StockClients() as clients, raw_client(f"{url}/board") as raw:
        assert await raw.receive() == Frame("step1", EMPTY_STATE_VECTOR)
        client = await clients.open(url, "board")
        await client.set_awareness({"name": "Ünal"})
        await client.set("theirs", "x" * 300)
        shown = awareness_states((await raw.receive_until("awareness")).body)
        await client.wait_synced()
        await raw.send(
            framed("step1", EMPTY_STATE_VECTOR), framed("awareness", awareness_update({7: (1, {"name": "raw"})}))
        )
        doc: Doc[Map[str]] = Doc()
        doc.apply_update((await raw.receive_until("step2")).body)
        doc.get("tldraw", type=Map)["mine"] = "y"
        await raw.send(framed("update", doc.get_update()))
        await client.wait_key("mine", "y")
        await client.wait_awareness(2, {"name": "raw"})
        assert doc.get("tldraw", type=Map)["theirs"] == "x" * 300
        assert client.client_id in shown


async def test_a_raw_client_tells_how_it_was_closed() -> None:
    async with (
        scripted_server(lambda socket: socket.close(code=4401, message=b"no key")) as url,
        raw_client(f"{url}/board") as raw,
    ):
        closed = await raw.closed()
    assert (closed.code, closed.reason) == (4401, "no key")


async def test_a_raw_client_tells_a_lost_connection() -> None:
    async with stock_server() as url, RoundRobin(url) as balancer, raw_client(f"{balancer.url}/board") as raw:
        await raw.receive()
        await balancer.cut()
        assert (await raw.closed()).code is None


@pytest.mark.parametrize("message", [b"\x09", b"\x00\x03\x00", framed("query") + b"\x00", framed("update", b"ab")[:-1]])
def test_a_raw_client_takes_nothing_for_a_message_that_is_none(message: bytes) -> None:
    with pytest.raises(AssertionError):
        decode(message)
