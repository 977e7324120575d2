"""What the relay passes on to the bridge, and what comes back: bodies as they come, answers whatever their time."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientPayloadError, ClientSession, web
from aiohttp.test_utils import TestServer

from relay.forward import BridgeForward

PICTURE = bytes(range(256)) * 40_000
PICTURE_BYTES_MAX = 10 * 1024 * 1024
WAIT_SECONDS_MAX = 10.0


class Bridge:
    """A stand-in that says what it was given."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.headers: dict[str, str] = {}

    async def echo(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        body = b""
        async for chunk in request.content.iter_any():
            self.began.set()
            body += chunk
        return web.Response(status=201, body=body, headers={"ETag": '"tag"'})

    async def refuse(self, request: web.Request) -> web.Response:
        """Answer by the headers alone."""
        if int(request.headers["Content-Length"]) > PICTURE_BYTES_MAX:
            return web.json_response({"error": "It is too large."}, status=413)
        return web.json_response({"error": "It is no picture."}, status=415)

    async def compressed(self, request: web.Request) -> web.Response:
        encoding = {"Content-Encoding": "gzip"} if "gzip" in request.headers.get("Accept-Encoding", "") else {}
        return web.Response(body=gzip.compress(b"text") if encoding else b"text", headers=encoding)

    async def break_off(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/v1/echo", self.echo)
        app.router.add_put("/v1/refuse", self.refuse)
        app.router.add_get("/v1/compressed", self.compressed)
        app.router.add_get("/v1/break", self.break_off)
        return app


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
async def relay(bridge: Bridge) -> AsyncIterator[TestServer]:
    """A relay's forward to this bridge."""
    async with TestServer(bridge.app()) as server, ClientSession(auto_decompress=False) as client:
        app = web.Application()
        app.router.add_route("*", "/v1/{path:.*}", BridgeForward(str(server.make_url("/")), client).handle)
        async with TestServer(app) as relay:
            yield relay


@pytest.fixture
async def agent() -> AsyncIterator[ClientSession]:
    async with ClientSession() as client:
        yield client


async def test_a_picture_passes_both_ways_with_its_headers(relay, bridge, agent) -> None:
    headers = {"X-API-Key": "dc_key", "Content-Type": "image/png"}
    async with agent.put(relay.make_url("/v1/echo?a=b"), data=io.BytesIO(PICTURE), headers=headers) as answer:
        assert (answer.status, await answer.read()) == (201, PICTURE)
        assert answer.headers["ETag"] == '"tag"'
        assert answer.content_length == len(PICTURE)
    assert headers.items() <= bridge.headers.items()
    assert bridge.headers["Content-Length"] == str(len(PICTURE)), "it may refuse one that is too large at once"


async def test_a_body_is_passed_on_while_it_comes(relay, bridge, agent) -> None:
    async def halves() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(bridge.began.wait(), WAIT_SECONDS_MAX)
        yield b" second"

    async with agent.put(relay.make_url("/v1/echo"), data=halves()) as answer:
        assert await answer.read() == b"first second"


async def test_a_body_that_came_compressed_arrives_whole(relay, bridge, agent) -> None:
    """The server undoes the encoding, so neither its name nor the length may be passed on."""
    body = gzip.compress(b"x" * 1000)
    async with agent.put(relay.make_url("/v1/echo"), data=body, headers={"Content-Encoding": "gzip"}) as answer:
        assert await answer.read() == b"x" * 1000
    assert "Content-Encoding" not in bridge.headers


@pytest.mark.parametrize(("size_bytes", "status"), [(PICTURE_BYTES_MAX + 1, 413), (PICTURE_BYTES_MAX, 415)])
async def test_an_early_refusal_reaches_a_client_that_is_still_sending(relay, size_bytes, status) -> None:
    """A reset would lose the status: the client could not tell a picture that is too large from a bad line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        writer.write(b"PUT /v1/refuse HTTP/1.1\r\nHost: relay\r\nContent-Length: %d\r\n\r\n" % size_bytes)
        writer.write(b"x" * 1000)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x" * (size_bytes - 1000))
        await writer.drain()
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b'"error"' in await reader.readuntil(b"}")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("status", [413, 415])
async def test_an_early_refusal_reaches_a_client_that_reads_only_when_it_has_sent_all(relay, agent, status) -> None:
    body = io.BytesIO(b"x" * (PICTURE_BYTES_MAX + (status == 413)))
    async with agent.put(relay.make_url("/v1/refuse"), data=body) as answer:
        assert answer.status == status
        assert "error" in await answer.json()


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip", "gzip"), ("identity", None)])
async def test_an_answer_is_encoded_as_the_client_asked(relay, agent, accepted, encoding) -> None:
    async with agent.get(relay.make_url("/v1/compressed"), headers={"Accept-Encoding": accepted}) as answer:
        assert answer.headers.get("Content-Encoding") == encoding
        assert await answer.text() == "text"


async def test_who_names_no_encoding_is_sent_none(relay, agent) -> None:
    async with agent.get(relay.make_url("/v1/compressed"), skip_auto_headers=["Accept-Encoding"]) as answer:
        assert await answer.read() == b"text"


async def test_half_an_answer_does_not_look_whole(relay, agent) -> None:
    with pytest.raises(ClientPayloadError):
        async with agent.get(relay.make_url("/v1/break")) as answer:
            await answer.read()


async def test_a_bridge_that_is_away_is_named(agent) -> None:
    async with ClientSession() as client, TestServer(web.Application()) as gone:
        url = str(gone.make_url("/"))
        await gone.close()
        app = web.Application()
        app.router.add_route("*", "/v1/{path:.*}", BridgeForward(url, client).handle)
        async with TestServer(app) as relay, agent.get(relay.make_url("/v1/boards")) as answer:
            assert answer.status == 502
            assert "bridge" in (await answer.json())["error"]
