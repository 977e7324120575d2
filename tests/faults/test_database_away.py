"""PostgreSQL is away until the logs are full: appends are held back, nothing else stops, nothing is lost (G5)."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pycrdt import Doc, Map

from boardctl.children import Child
from boardctl.servers import running_postgres, running_valkey
from boardlog import database as database_module
from boardlog.access import EVERY_BOARD, new_key
from boardlog.fullness import GO_ON_SHARE, LIMIT_SHARE
from boardlog.grant import Role
from boardlog.ids import BoardId
from boardlog.merge import EMPTY_STATE_VECTOR
from tests.faults.report import Report
from tests.rawclient import HELLO, RawClient, framed, raw_client
from tests.services import Service, System, system
from tests.stockclient import StockClient, StockClients

REDIS_BYTES = 40 << 20
LIMIT_BYTES = int(REDIS_BYTES * LIMIT_SHARE)
FILL_BYTES = 200_000
HELD_EDITS = 60
OTHER = BoardId("other")
FULL_SECONDS_MAX = 30.0
BACK_SECONDS_MAX = 90.0
JOIN_SECONDS_MAX = 40.0
"""A join of a board that is not held is tried for retry.RETRY_SECONDS_MAX before it is refused."""
SILENCE_SECONDS = 1.0


@dataclass
class World:
    """A system on servers of its own: two relays, a bridge, a worker; a key for every board."""

    system: System
    postgres: Child
    relays: list[Service]
    bridge: Service
    http: aiohttp.ClientSession
    key: str
    made: set[str] = field(default_factory=set)
    """The keys of all edits and items that were made."""

    async def metric(self, service: Service, name: str) -> float:
        async with self.http.get(f"{service.url}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))

    async def is_held(self) -> list[bool]:
        """Say of each relay and the bridge whether it holds appends back."""
        return [await self.metric(service, "appends_held") == 1 for service in (*self.relays, self.bridge)]

    async def post(self, item_id: str) -> tuple[int, str | None, Any]:
        """Have an agent write an item; return the status, Retry-After and the answer."""
        url = f"{self.bridge.url}/v1/boards/{self.system.board}/items"
        body = {"id": item_id, "type": "sticky", "x": 1, "y": 2, "content": {"text": "From an agent"}}
        async with self.http.post(url, json=body, headers={"X-API-Key": self.key}) as answer:
            if answer.status == 201:
                self.made.add(f"shape:{item_id}")
            return answer.status, answer.headers.get("Retry-After"), await answer.json()

    async def read_item(self, item_id: str) -> int:
        url = f"{self.bridge.url}/v1/boards/{self.system.board}/items/{item_id}"
        async with self.http.get(url, headers={"X-API-Key": self.key}) as answer:
            return answer.status

    async def edit(self, client: StockClient, count: int, prefix: str) -> None:
        await client.set_many(count, prefix)
        self.made.update(f"{prefix}{number}" for number in range(count))

    async def fill(self, author: StockClient, witness: StockClient) -> int:
        """Edit until an alarm is given, each edit seen by others; then let something else take the rest.

        Return the edits.
        """
        count = 0
        async with asyncio.timeout(FULL_SECONDS_MAX):
            while (await self.system.stores.streams.memory()).used_bytes < LIMIT_BYTES * 0.85:
                await author.set(f"fill{count}", "x" * FILL_BYTES)
                await witness.wait_key(f"fill{count}")
                self.made.add(f"fill{count}")
                count += 1
            while "log_filling" not in self.relays[0].log.read_text():
                await asyncio.sleep(0.1)
            while not all(await self.is_held()):
                if (await self.system.stores.streams.memory()).used_bytes < LIMIT_BYTES * 1.05:
                    await self.system.stores.redis.append("ballast", bytes(FILL_BYTES))
                await asyncio.sleep(0.02)
        return count


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    folder = Path(
        tempfile.mkdtemp(prefix="board-relay-away-")
    )  # PostgreSQL is not root, and pytest's folders are closed
    folder.chmod(0o711)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        valkey = running_valkey(folder / "valkey", extra_args=["--maxmemory", str(REDIS_BYTES)])
        redis_url = (await stack.enter_async_context(valkey)).url
        postgres = await stack.enter_async_context(running_postgres(folder / "postgres"))
        pool = await database_module.connect(postgres.url)
        await database_module.migrate(pool)
        await pool.close()
        made = await stack.enter_async_context(system(redis_url, postgres.url, "", tmp_path))
        key = new_key()
        await made.stores.snapshots.create(OTHER)
        await made.stores.access.create_key(key, EVERY_BOARD, Role.EDITOR, "everywhere")
        relays, bridge, _ = await asyncio.gather(made.relays(2), made.start("bridge"), made.start("persistence_worker"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield World(made, postgres, relays, bridge, http, key)


@pytest.mark.timeout(240)
async def test_G5_a_log_that_is_full_holds_appends_back_until_the_database_is_there_again(
    world: World, report: Report
) -> None:
    board, key, (first, second) = world.system.board, world.key, world.relays
    async with StockClients() as clients, AsyncExitStack() as stack:
        ann, bob = await clients.open(first.ws, board, key=key), await clients.open(second.ws, board, key=key)
        eve = await clients.open(second.ws, board, key=world.system.viewer_key)
        people = [ann, bob, eve]
        await asyncio.gather(*(person.wait_synced() for person in people))
        assert (await world.post("before"))[0] == 201

        await world.postgres.kill()
        elsewhere = await clients.open(first.ws, OTHER, key=key)
        assert (await world.post("away"))[0] == 201, "an open board goes on"
        filled = await world.fill(ann, bob)
        told = [line for line in first.log.read_text().splitlines() if "log_full" in line or "log_filling" in line]
        assert len(told) == 2, "the alarm, then the limit; once each"
        assert await world.metric(first, "log_memory_used_bytes") >= LIMIT_BYTES * GO_ON_SHARE

        full_at = await world.system.stores.streams.head(board)
        assert full_at is not None
        counted = await stack.enter_async_context(raw_client(f"{first.ws}/{board}", params={"apiKey": key}))
        await counted.send(HELLO)
        assert (await counted.receive_until("saved")).number == 0
        await counted.send(change("counted", world.made))
        await world.edit(ann, HELD_EDITS, "ann")
        await world.edit(bob, HELD_EDITS, "bob")
        await others_go_on(world, clients, eve)
        assert (await elsewhere.wait_closed(seconds_max=JOIN_SECONDS_MAX)).code == 1013, "nobody holds that board"
        with pytest.raises(TimeoutError):
            await counted.receive_until("saved", SILENCE_SECONDS)
        assert await world.system.stores.streams.head(board) == full_at, "nothing is appended"
        assert [await person.closes() for person in people] == [[], [], []], "and nobody is sent away"

        await world.postgres.start()
        back = time.monotonic()
        recoveries = await asyncio.gather(
            seconds_until(back, eve.wait_key(f"ann{HELD_EDITS - 1}", seconds_max=BACK_SECONDS_MAX)),
            seconds_until(back, eve.wait_key(f"bob{HELD_EDITS - 1}", seconds_max=BACK_SECONDS_MAX)),
            seconds_until(back, is_saved(counted)),
        )
        while any(await world.is_held()):  # the bridge looks at another moment
            await asyncio.sleep(0.1)
        assert (await world.post("after"))[0] == 201
        await eve.wait_key("shape:after")
        assert [await person.closes() for person in people] == [[], [], []]
        joiner = await clients.open(first.ws, board, key=key)
        await joiner.wait_synced()
        lost = world.made - (await joiner.dump()).keys()

    report.add(
        "PostgreSQL away until the log is full",
        edits=len(world.made),
        lost=len(lost),
        recovery_seconds=recoveries,
        note=f"held at {LIMIT_BYTES / 1e6:.0f} MB after {filled} edits; timed from when PostgreSQL answers",
    )
    assert lost == set()
    assert (await world.system.stores.snapshots.load_cursor(board)).id >= full_at.id, "all is compacted"


async def others_go_on(world: World, clients: StockClients, eve: StockClient) -> None:
    """Who joins gets the board, who reads and is seen notices nothing, an agent is told when to come again."""
    board, key, (first, second) = world.system.board, world.key, world.relays
    logged = {name for name in world.made if name.startswith("fill")}
    late = await clients.open(first.ws, board, key=key)
    viewer = await clients.open(second.ws, board, key=world.system.viewer_key)
    await asyncio.gather(late.wait_synced(), viewer.wait_synced())
    assert logged <= (await late.dump()).keys()
    assert logged <= (await viewer.dump()).keys()
    await late.set_awareness_field("user", {"name": "Late"})
    await eve.wait_awareness(match={"user": {"name": "Late"}})

    status, retry_after, answer = await world.post("meanwhile")
    assert (status, retry_after) == (503, "30")
    assert "full" in answer["error"]
    assert await world.read_item("before") == 200
    assert await world.read_item("meanwhile") == 404

    await asyncio.gather(late.destroy(), viewer.destroy())


def change(key: str, made: set[str]) -> bytes:
    doc: Doc[Any] = Doc(client_id=7)
    doc.get("tldraw", type=Map)[key] = 1.0
    made.add(key)
    return framed("update", doc.get_update(EMPTY_STATE_VECTOR))


async def is_saved(client: RawClient) -> None:
    """Return when its one change is counted as saved."""
    while (frame := await client.receive(BACK_SECONDS_MAX)).kind != "saved":
        pass
    assert frame.number == 1


async def seconds_until(began: float, done: Awaitable[object]) -> float:
    await done
    return time.monotonic() - began
