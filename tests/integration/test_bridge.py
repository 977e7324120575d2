"""The bridge as a process: agents over HTTP, people with stock clients on relays, one log between them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.services import Service, System, system
from tests.stockclient import StockClient, StockClients

ITEMS: list[dict[str, Any]] = [
    {"type": "sticky", "content": {"text": "A note"}, "style": {"color": "#ff8800"}},
    {"type": "text", "content": {"text": "Bare text"}, "width": 260},
    {"type": "shape", "content": {"text": "Go", "shape": "ellipse"}, "width": 200, "height": 90},
    {"type": "frame", "content": {"title": "A plan"}, "width": 640, "height": 480},
    {"type": "image", "content": {"url": "https://example.com/a.png", "alt": "A"}},
    {"type": "document", "content": {"title": "Title", "text": "First line\n\nThird line"}},
]
SHAPES = {"sticky": "note", "text": "text", "shape": "geo", "frame": "frame", "image": "image", "document": "note"}


class Agent:
    """Speaks to one board's items over HTTP."""

    def __init__(self, service: Service, world: System, key: str, client: aiohttp.ClientSession) -> None:
        self._url = f"{service.url}/v1/boards/{world.board}/items"
        self._client = client
        self._headers = {"X-API-Key": key}

    async def call(self, method: str, path: str = "", body: object = None) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        async with self._client.request(method, self._url + path, data=data, headers=self._headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post(self, **item: Any) -> dict[str, Any]:
        status, answer = await self.call("POST", body={"x": 10, "y": 20, **item})
        assert status == 201, answer
        return answer


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


async def test_each_type_of_item_reaches_people_on_any_node_and_reads_back_as_given(world, http) -> None:
    bridge, relay = await asyncio.gather(world.start("bridge"), world.start("relay"))
    agent = Agent(bridge, world, world.editor_key, http)
    async with StockClients() as clients:
        person = await clients.open(relay.ws, world.board, key=world.viewer_key)
        await person.wait_synced()
        for item in ITEMS:
            answer = await agent.post(**item, created_by="agent-7")
            key = f"shape:{answer['id']}"
            await person.wait_key(key)
            record = await person.get(key)
            assert record["type"] == SHAPES[item["type"]]
            assert (record["x"], record["y"], record["parentId"]) == (10, 20, "page:page")
            assert record["meta"]["created_by"] == "agent-7"
            read = (await agent.call("GET", f"/{answer['id']}"))[1]
            assert read == answer
            assert {name: read[name] for name in item} == item
        status, listed = await agent.call("GET")
        assert (status, len(listed["items"])) == (200, len(ITEMS))
        assert await person.get("document:document")


async def test_agents_see_what_people_moved_and_typed(world, http) -> None:
    bridge, relay = await asyncio.gather(world.start("bridge"), world.start("relay"))
    agent = Agent(bridge, world, world.editor_key, http)
    async with StockClients() as clients:
        person = await clients.open(relay.ws, world.board, key=world.editor_key)
        await person.wait_synced()
        await agent.post(id="note", type="sticky", content={"text": "From the agent", "mine": 1})
        await agent.post(id="frame", type="frame", content={"title": "Frame"}, width=500, height=500)
        await person.wait_key("shape:frame")
        record = await person.get("shape:note")
        record |= {"x": -5, "y": 5, "parentId": "shape:frame"}
        record["props"]["richText"]["content"] = [{"type": "paragraph", "content": [{"type": "text", "text": "Typed"}]}]
        await person.set("shape:note", record)
        witness = await clients.open(relay.ws, world.board, key=world.viewer_key)
        await witness.wait_key("shape:note", record)  # so it is in the log
        item = (await agent.call("GET", "/note"))[1]
        assert (item["x"], item["y"]) == (5, 25)  # in page coordinates
        assert item["content"]["text"] == "Typed"


async def test_a_patch_changes_what_it_says_and_leaves_what_people_did(world, http) -> None:
    bridge, relay = await asyncio.gather(world.start("bridge"), world.start("relay"))
    agent = Agent(bridge, world, world.editor_key, http)
    async with StockClients() as clients:
        person = await clients.open(relay.ws, world.board, key=world.editor_key)
        await agent.post(id="note", type="sticky", content={"text": "Draft"})
        await person.wait_key("shape:note")
        moved = await person.get("shape:note") | {"x": 777}
        await person.set("shape:note", moved)
        witness = await clients.open(relay.ws, world.board, key=world.viewer_key)
        await witness.wait_key("shape:note", moved)
        status, item = await agent.call("PATCH", "/note", {"content": {"text": "Final"}, "style": {"color": "blue"}})
        assert (status, item["x"], item["content"]["text"]) == (200, 777, "Final")
        assert (await agent.call("DELETE", "/note"))[0] == 204
        await person.wait_absent("shape:note")
        assert (await agent.call("GET", "/note"))[0] == 404


async def test_an_agent_and_a_person_who_change_one_item_at_once_both_have_their_way(world, http) -> None:
    """The person moves the note without sight of the agent's change, and sets the whole record, as the canvas does."""
    bridge, relay = await asyncio.gather(world.start("bridge"), world.start("relay"))
    agent = Agent(bridge, world, world.editor_key, http)
    async with StockClients() as clients:
        person = await clients.open(relay.ws, world.board, key=world.editor_key)
        witness = await clients.open(relay.ws, world.board, key=world.viewer_key)
        for number in range(10):
            note = f"note{number}"
            await agent.post(id=note, type="sticky", content={"text": "Draft"})
            await person.wait_key(f"shape:{note}")
            await person.disconnect()
            stale = await person.get(f"shape:{note}") | {"x": 500 + number}
            await agent.call("PATCH", f"/{note}", {"content": {"text": "Final"}})
            await person.set(f"shape:{note}", stale)
            await person.connect()
            await until_item(
                agent, note, lambda item, x=500 + number: (item["x"], item["content"]["text"]) == (x, "Final")
            )
            item = (await agent.call("GET", f"/{note}"))[1]
            record = await agent_sees(person, f"shape:{note}", item["x"])
            assert record["props"]["richText"]["content"][0]["content"][0]["text"] == "Final"
        await clients.converged(person, witness)


async def agent_sees(person: StockClient, key: str, x: float) -> dict[str, Any]:
    """Return the person's record once it holds both changes."""
    async with asyncio.timeout(10):
        while True:
            record = await person.get(key)
            if record["x"] == x and "Final" in json.dumps(record["props"]["richText"]):
                return record
            await asyncio.sleep(0.01)


async def until_item(agent: Agent, item_id: str, is_right: Any) -> None:
    async with asyncio.timeout(10):
        while not is_right((await agent.call("GET", f"/{item_id}"))[1]):
            await asyncio.sleep(0.01)


async def test_an_item_made_again_under_its_id_is_as_it_was_made(world, http) -> None:
    """What was meant for the deleted one, a moment ago, is not put on top of it."""
    bridge = await world.start("bridge")
    agent = Agent(bridge, world, world.editor_key, http)
    for number in range(5):
        await agent.post(id="note", type="sticky", content={"text": "Draft"})
        await agent.call("PATCH", "/note", {"x": 500, "width": 400, "content": {"text": "Final"}})
        await agent.call("DELETE", "/note")
        made = await agent.post(id="note", type="sticky", content={"text": "Draft"})
        await agent.post(id=f"later{number}", type="sticky", content={"text": ""})
        assert (await agent.call("GET", "/note"))[1] == made
        await agent.call("DELETE", "/note")


async def test_many_agents_on_two_bridges_lose_nothing(world, http) -> None:
    bridges = await asyncio.gather(world.start("bridge", "bridge-0"), world.start("bridge", "bridge-1"))
    agents = [Agent(bridge, world, world.editor_key, http) for bridge in bridges]
    await asyncio.gather(
        *(agents[n % 2].post(id=f"item{n}", type="sticky", content={"text": str(n)}) for n in range(60))
    )
    for agent in agents:
        items = (await agent.call("GET"))[1]["items"]
        assert {item["id"] for item in items} == {f"item{n}" for n in range(60)}


@pytest.mark.parametrize(
    ("body", "status", "fields"),
    [
        (b"not json", 422, ["item"]),
        (b"[]", 422, ["item"]),
        (b'{"x": NaN}', 422, ["item"]),
        (b"[" * 100_000, 422, ["item"]),
        ({"type": "sticky", "x": 1e9, "y": 0, "content": {}}, 422, ["x", "content.text"]),
        ({"type": "unknown", "x": 0, "y": 0, "content": {}}, 422, ["type"]),
        ({"type": "sticky", "x": 0, "y": 0, "content": {"text": "t"}, "colour": 1}, 422, ["colour"]),
        ({"type": "image", "x": 0, "y": 0, "content": {"url": "javascript:alert(1)"}}, 422, ["content.url"]),
        (b" " * (512 * 1024 + 1), 413, []),
    ],
)
async def test_bad_input_is_a_4xx_that_names_the_field(world, http, body, status, fields) -> None:
    agent = Agent(await world.start("bridge"), world, world.editor_key, http)
    answered, problem = await agent.call("POST", body=body)
    assert answered == status
    assert problem["error"]
    named = [field["field"] for field in problem.get("fields", [])]
    assert all(any(name.startswith(field) for name in named) for field in fields), named
    assert await world.stores.streams.head(world.board) is None  # nothing of it reached the log


async def test_who_may_not_write_is_told_so(world, http) -> None:
    bridge = await world.start("bridge")
    viewer = Agent(bridge, world, world.viewer_key, http)
    nobody = Agent(bridge, world, "dc_wrong", http)
    note = {"type": "sticky", "x": 0, "y": 0, "content": {"text": ""}}
    assert (await viewer.call("POST", body=note))[0] == 403
    assert (await viewer.call("GET"))[0] == 200
    assert (await nobody.call("GET"))[0] == 401
    editor = Agent(bridge, world, world.editor_key, http)
    await editor.post(id="one", type="sticky", content={"text": "t"})
    assert (await editor.call("POST", body={**note, "id": "one"}))[0] == 409
    assert (await editor.call("PATCH", "/none", {"x": 1}))[0] == 404
    assert (await editor.call("DELETE", "/none"))[0] == 404
    assert (await editor.call("PUT", body=note))[0] == 405


async def test_the_relay_serves_the_same_api_under_its_own_address(world, http) -> None:
    bridge = await world.start("bridge")
    relay = await world.start("relay", BRIDGE_URL=bridge.url)
    through_relay = Agent(relay, world, world.editor_key, http)
    made = await through_relay.post(id="one", type="sticky", content={"text": "t"})
    assert (await Agent(bridge, world, world.editor_key, http).call("GET", "/one"))[1] == made
    bridge.kill()
    await bridge.process.wait()
    assert (await through_relay.call("GET", "/one"))[0] == 502


async def test_the_documentation_is_served_and_says_what_is_validated(world) -> None:
    bridge = await world.start("bridge")
    status, described = await bridge.get("/openapi.json")
    assert status == 200
    assert set(described["paths"]) == {
        "/v1/boards/{board}/items",
        "/v1/boards/{board}/items/{id}",
        "/v1/boards/{board}/assets/{id}",
    }
    upload = described["paths"]["/v1/boards/{board}/assets/{id}"]["put"]
    assert set(upload["requestBody"]["content"]) == {f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif")}
    assert upload["responses"].keys() >= {"200", "201", "401", "403", "404", "408", "409", "413", "415", "422", "503"}
    assert {"Sticky", "Asset"} <= described["components"]["schemas"].keys()
