"""Entries that somebody placed directly into a board's stream: quarantined, listed, and nobody else's trouble (G6)."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest
from pycrdt import Doc, Map

from boardlog.access import new_key
from boardlog.due import RedisDue
from boardlog.grant import Role
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.scripts import Scripts
from tests.services import Service, System, system
from tests.stockclient import StockClients

QUARANTINE_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 30.0
GARBAGE = b"\xff\xfe\xfd"
CLIENT_TWICE = bytes.fromhex("0201070008010161017e01070108010161017e00")
SEGFAULTS = b"\x01\x01\x07\x00\x28\x01\x01m\x01k\x01" + b"\x75\x01" * 26_000 + b"\x7e" + b"\x00"


def entry(*updates: bytes, kind: int = 0) -> bytes:
    return msgpack.packb((kind, updates))


def update(size: int = 10) -> bytes:
    doc: Doc[Any] = Doc()
    doc.get("tldraw", type=Map)[f"shape:{size}"] = "x" * size
    return doc.get_update()


POISON: dict[str, dict[str, bytes]] = {
    "no fields of ours": {"x": b"y"},
    "no payload": {"t": b"abcdefabcdef"},
    "no tag": {"p": entry(GARBAGE)},
    "not msgpack": {"t": b"abcdefabcdef", "p": b"\xc1\xc1"},
    "deep msgpack": {"t": b"abcdefabcdef", "p": b"\x91" * 5000},
    "unknown kind": {"t": b"abcdefabcdef", "p": entry(update(), kind=9)},
    "texts for updates": {"t": b"abcdefabcdef", "p": msgpack.packb((0, ("text", 5)))},
    "too many updates": {"t": b"abcdefabcdef", "p": entry(*[update()] * 4097)},
    "garbage for an update": {"t": b"abcdefabcdef", "p": entry(GARBAGE)},
    "half an update": {"t": b"abcdefabcdef", "p": entry(update(100)[:50])},
    "a client twice": {"t": b"abcdefabcdef", "p": entry(CLIENT_TWICE)},
    "what kills pycrdt": {"t": b"abcdefabcdef", "p": entry(SEGFAULTS)},
    "8 MB of garbage": {"t": b"abcdefabcdef", "p": entry(b"\xff" * (8 << 20))},
}
UNUSUAL: dict[str, bytes] = {
    "64 KB and one byte": entry(update(64 * 1024 + 1)),
    "8 MB": entry(update(8 << 20)),
    "4,096 updates": entry(*[update(n) for n in range(4096)]),
}


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


async def place(world: System, fields: dict[str, bytes]) -> None:
    redis = world.stores.redis
    await redis.xadd(Keys(world.redis_key_prefix).log(world.board), fields)


async def shown(world: System) -> dict[str, Any]:
    """Return what `boardctl board show` prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "boardctl.main", "board", "show", world.board, "--json"),
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "REDIS_URL": world.redis_url,
            "DATABASE_URL": world.database_url,
            "REDIS_KEY_PREFIX": world.redis_key_prefix,
        },
    )
    output, _ = await process.communicate()
    return dict(json.loads(output))


async def quarantined(world: System, count: int) -> list[dict[str, str]]:
    """Have the board compacted until so much is quarantined."""
    redis = world.stores.redis
    due = RedisDue(redis, Scripts(redis), Keys(world.redis_key_prefix))
    async with asyncio.timeout(QUARANTINE_SECONDS_MAX):
        while True:
            await due.mark([world.board], 0)
            found = await world.stores.snapshots.quarantined(world.board)
            if len(found) >= count:
                return list((await shown(world))["quarantined"])
            await asyncio.sleep(0.2)


async def items(bridge: Service, world: System, board: str) -> int:
    url, headers = f"{bridge.url}/v1/boards/{board}/items", {"X-API-Key": world.editor_key}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status


async def test_G6_poison_in_the_stream_is_quarantined_and_listed_and_stops_nobody(world) -> None:
    """Joins work without it, other boards never notice, relay, bridge and worker stay up."""
    services = await asyncio.gather(world.start("relay"), world.start("bridge"), world.start("persistence_worker"))
    relay, bridge, _ = services
    other = BoardId("other")
    await world.stores.snapshots.create(other)
    key = new_key()
    await world.stores.access.create_key(key, other, Role.EDITOR, "other")
    async with StockClients() as clients, StockClients() as untouched:
        first, second = [await clients.open(relay.ws, world.board, key=world.editor_key) for _ in range(2)]
        neighbours = [await untouched.open(relay.ws, other, key=key) for _ in range(2)]
        await first.wait_synced()
        await first.set("before", 1)
        await second.wait_key("before")
        for fields in POISON.values():
            await place(world, fields)
        for payload in UNUSUAL.values():
            await place(world, {"t": b"abcdefabcdef", "p": payload})
        await first.set("after", 2)
        await asyncio.gather(*(one.set_many(50, f"{n}-", per_turn=1) for n, one in enumerate(neighbours)))

        found = await quarantined(world, len(POISON))
        print("\n".join(f"{line['cursor']}  {line['reason']}" for line in found))
        assert len(found) == len(POISON)
        # Those of the poisons that can be decoded reach the browsers that are open, which catch what yjs throws.
        # Each has handled them all once it has what the other wrote behind them.
        await second.wait_key("after", seconds_max=WAIT_SECONDS_MAX)
        await second.set("handled", 3)
        await first.wait_key("handled", seconds_max=WAIT_SECONDS_MAX)
        caught = clients.take_faults()
        assert all("Caught error while handling a Yjs update" in fault.text for fault in caught)
        print(len(caught), "caught in open browsers:", sorted({fault.text.split("\n")[0] for fault in caught}))

        late = await clients.open(relay.ws, world.board, key=world.editor_key)
        for name in ("before", "after", *(f"shape:{size}" for size in (64 * 1024 + 1, 8 << 20, 4095))):
            await late.wait_key(name, seconds_max=WAIT_SECONDS_MAX)
        await late.set("later", 3)
        await first.wait_key("later", seconds_max=WAIT_SECONDS_MAX)
        assert await items(bridge, world, world.board) == 200
        await untouched.converged(*neighbours, count=100)
        assert [(await one.state()).closes for one in neighbours] == [[], []]
    for service in services:
        assert service.process.returncode is None
        assert "Traceback" not in service.log.read_text(), service.name
