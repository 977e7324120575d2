"""Agents that people see while they write: a bridge, relays and stock clients, each a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.services import Service, System, system
from tests.stockclient import StockClients

NOTE: dict[str, Any] = {"type": "sticky", "x": 100, "y": 200, "content": {"text": "From an agent"}}


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


async def call(bridge: Service, world: System, method: str, path: str = "", body: object = None) -> int:
    url, headers = f"{bridge.url}/v1/boards/{world.board}/items{path}", {"X-API-Key": world.editor_key}
    async with aiohttp.ClientSession() as client, client.request(method, url, json=body, headers=headers) as answer:
        return answer.status


def agent(name: str) -> dict[str, Any]:
    return {"cursor": {"x": 100, "y": 200}, "canvas": {"page": "page:page"}, "selection": [f"shape:{name}"]}


async def test_people_see_an_agent_where_it_writes_and_so_do_those_who_come_later(world) -> None:
    bridge, *relays = await asyncio.gather(world.start("bridge"), world.start("relay"), world.start("relay", "late"))
    async with StockClients() as clients:
        person = await clients.open(relays[0].ws, world.board, key=world.viewer_key)
        await person.set_awareness({"user": {"name": "Ann"}})
        await person.wait_synced()
        assert await call(bridge, world, "POST", body=NOTE | {"id": "one", "created_by": "agent-7"}) == 201
        await person.wait_awareness(2, agent("one"))
        states = await person.awareness()
        [(client, shown)] = [(one, state) for one, state in states.items() if one != person.client_id]
        assert shown["user"] == {"name": "agent-7", "color": shown["user"]["color"], "type": "agent"}
        later = await clients.open(relays[1].ws, world.board, key=world.viewer_key, version="2")
        await later.set_awareness({"user": {"name": "Bob"}})
        await later.wait_awareness(3, agent("one"))
        assert (await later.awareness())[client] == shown
        assert await call(bridge, world, "POST", body=NOTE | {"id": "two", "created_by": "agent-7"}) == 201
        await asyncio.gather(*(one.wait_awareness(3, agent("two")) for one in (person, later)))
        assert await call(bridge, world, "PATCH", "/two", {"x": 5}) == 200  # by the name of the key
        await asyncio.gather(*(one.wait_awareness(4, {"cursor": {"x": 5, "y": 200}}) for one in (person, later)))
        assert "editor" in {state.get("user", {}).get("name") for state in (await later.awareness()).values()}
        assert await call(bridge, world, "DELETE", "/two") == 204
        await person.wait_awareness(4, {"cursor": {"x": 5, "y": 200}, "selection": []})
        assert await bridge.terminate() == 0
        await asyncio.gather(*(one.wait_awareness(2) for one in (person, later)))


async def test_what_writes_nothing_shows_nobody(world) -> None:
    bridge, relay = await asyncio.gather(world.start("bridge"), world.start("relay"))
    async with StockClients() as clients:
        person = await clients.open(relay.ws, world.board, key=world.viewer_key)
        await person.wait_synced()
        assert await call(bridge, world, "GET") == 200
        assert await call(bridge, world, "POST", body=NOTE | {"x": "?", "created_by": "wrong"}) == 422
        assert await call(bridge, world, "DELETE", "/none") == 404
        assert await call(bridge, world, "POST", body=NOTE | {"id": "one", "created_by": "right"}) == 201
        await person.wait_awareness(2, agent("one"))
