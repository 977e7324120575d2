"""G10: a node can leave, under load and among clients and stores that do not answer, and nothing is lost or doubled.

After a SIGTERM the platform waits 10 s and kills: so does `leave`, and what was killed fails the test.
"""

import asyncio
import signal
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from boardctl.children import Child, Supervisor
from boardctl.servers import valkey
from tests.faults import crowd
from tests.faults.load import Load, under_load
from tests.faults.report import Report
from tests.rawclient import Closed, raw_client
from tests.services import Service, System, system
from tests.stockclient import StockClient, StockClientError

KILLED_AFTER_SECONDS = 10.0
WINDOW_SECONDS = 0.1
GOING_AWAY = 1012


async def leave(service: Service, *, twice: bool = False) -> float:
    """Ask a service to leave, perhaps again while it does; return how long it took. It must end by itself, and well."""
    began = time.monotonic()
    service.process.terminate()
    if twice:
        await asyncio.sleep(0.5)
        with suppress(ProcessLookupError):
            service.process.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(KILLED_AFTER_SECONDS):
            await service.process.wait()
    took = time.monotonic() - began
    if service.process.returncode is None:
        service.kill()
        await service.process.wait()
    assert service.process.returncode == 0, f"{service.name} after {took:.1f} s: {service.log.read_text()[-3000:]}"
    return took


class Away:
    """How long clients were away each time that a node sent them off, and how many came (back) at once."""

    def __init__(self, load: Load) -> None:
        self.seconds: list[float] = []
        self.peak = 0
        """The most connections that came within WINDOW_SECONDS."""
        self._load = load

    async def __aenter__(self) -> "Away":
        clients = [*self._load.editors, *self._load.viewers]
        self._tasks = [asyncio.create_task(self._watch(client)) for client in clients]
        self._tasks.append(asyncio.create_task(self._count()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, client: StockClient) -> None:
        with suppress(StockClientError):  # no further close before the end
            for times in range(1, 100):
                close = await client.wait_closed(GOING_AWAY, times=times, seconds_max=100)
                await client.wait_synced(times=times + 1, seconds_max=30)
                self.seconds.append(time.time() - close.at)

    async def _count(self) -> None:
        before = self._load.relays.served.total()
        while True:
            await asyncio.sleep(WINDOW_SECONDS)
            now = self._load.relays.served.total()
            self.peak = max(self.peak, now - before)
            before = now


@asynccontextmanager
async def quiet_crowd(load: Load, count: int) -> AsyncIterator[list[int | None]]:
    """Viewers of another board, who come back 100 ms after each close as stock clients do; yield the closes' codes."""
    world, codes = await load.system.another_board("quiet"), list[int | None]()

    async def one() -> None:
        url, params = f"{load.relays.url}/ws/{world.board}", {"apiKey": world.viewer_key}
        while True:
            try:
                async with raw_client(url, params=params) as raw:
                    while True:
                        await raw.receive(seconds_max=60)
            except Closed as closed:
                codes.append(closed.code)
            except aiohttp.ClientError:
                codes.append(None)
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    try:
        yield codes
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.timeout(180)
async def test_G10_a_rolling_restart_loses_nothing_and_makes_no_storm(world: System, report: Report) -> None:
    relays, bridges = await asyncio.gather(
        world.relays(3, DRAIN_SECONDS="3"), asyncio.gather(*(world.start("bridge", f"bridge-{n}") for n in range(2)))
    )
    exits = []
    async with under_load(world, relays, bridges, editors=8, viewers=4) as load:
        async with quiet_crowd(load, 120) as codes, load.running(), Away(load) as away:
            await load.flows()
            storm, away.peak = away.peak, 0
            for number, (service, module) in enumerate([*((one, "relay") for one in relays), (bridges[0], "bridge")]):
                balancer = load.relays if module == "relay" else load.bridges
                fresh = await world.start(module, f"{module}-new-{number}", DRAIN_SECONDS="3")
                balancer.backends = [*(url for url in balancer.backends if url != service.url), fresh.url]
                exits.append(await leave(service))
            await load.flows()
        note = (
            f"away; exits after {', '.join(f'{one:.1f}' for one in exits)} s; {len(codes)} quiet ones moved; peak of "
            f"connections per 100 ms: {away.peak} ({storm} when all came)"
        )
        assert away.seconds
        assert set(codes) == {GOING_AWAY}
        await load.lost_nothing(report, "rolling restart: 3 relays, a bridge", note=note, may_repeat=True)
        report.add("rolling restart: away", edits=0, lost=0, recovery_seconds=away.seconds)


async def test_G10_a_relay_leaves_under_load_whatever_slow_clients_do(world: System, report: Report) -> None:
    relays = await world.relays(3)
    bridge = await world.start("bridge")
    leaving = relays[0]
    async with under_load(world, relays, [bridge], editors=6, viewers=2) as load:
        async with load.running():
            await load.flows()
            process = await asyncio.create_subprocess_exec(
                *crowd.command(leaving.port, world.board, world.editor_key), stdout=PIPE
            )
            try:
                async with asyncio.timeout(30):
                    while (await leaving.get("/health"))[1]["connections"] < 3 * crowd.SLOW_OF_A_KIND:
                        await asyncio.sleep(0.05)
                load.relays.backends.remove(leaving.url)
                took = await leave(leaving)
            finally:
                process.kill()
                await process.wait()
            await load.fault()
            await load.back(30)
        await load.lost_nothing(report, "SIGTERM among slow clients", note=f"exit after {took:.1f} s")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Child]:
    """A Valkey of this test's own, to be hurt."""
    child = valkey(tmp_path / "valkey")
    async with Supervisor().running([child]):
        yield child


@pytest.mark.parametrize("how", ["hangs", "is dead"])
async def test_G10_everybody_leaves_while_redis_is_away(
    how: str, server: Child, database: str, redis_key_prefix: str, tmp_path: Path, report: Report
) -> None:
    """Who waits is told to try again: a joiner by 1012, a request by 503. A second SIGTERM does no harm."""
    async with system(server.url, database, redis_key_prefix, tmp_path) as world:
        bridge, worker = await asyncio.gather(world.start("bridge"), world.start("persistence_worker"))
        relay = await world.start("relay", BRIDGE_URL=bridge.url, DRAIN_SECONDS="3")
        other = await world.another_board("other")
        async with under_load(world, [relay], [bridge], editors=2, viewers=1) as load:
            async with load.running():
                await load.flows()
                server.process.send_signal(signal.SIGSTOP if how == "hangs" else signal.SIGKILL)
                joining = asyncio.create_task(closed(relay, other))
                asking = asyncio.create_task(answered(relay, world))
                async with asyncio.timeout(30):
                    while (await relay.get("/health"))[1]["rooms"] < 2:
                        await asyncio.sleep(0.02)
                load.relays.backends.clear()
                took = await asyncio.gather(*(leave(service, twice=True) for service in (relay, bridge, worker)))
                assert await joining in {GOING_AWAY, 1013}
                assert await asking == 503
                if how == "hangs":
                    server.process.send_signal(signal.SIGCONT)
                else:
                    await server.start()
                fresh = await asyncio.gather(*(world.start(module, f"{module}-new") for module in ("relay", "bridge")))
                load.relays.backends[:], load.bridges.backends[:] = [fresh[0].url], [fresh[1].url]
                await load.fault()
                await load.back(30)
                await load.agents_back(30)
            await load.lost_nothing(
                report,
                f"SIGTERM of all while Valkey {how}",
                note=f"exits after {', '.join(f'{one:.1f}' for one in took)} s",
                may_repeat=True,
            )


async def closed(relay: Service, world: System) -> int | None:
    async with raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as joiner:
        return (await joiner.closed(seconds_max=30)).code


async def answered(relay: Service, world: System) -> int:
    item = {"type": "sticky", "x": 0, "y": 0, "content": {"text": "asked while Redis was away"}}
    async with aiohttp.ClientSession() as http:
        url = f"{relay.url}/v1/boards/{world.board}/items"
        async with http.post(url, json=item, headers={"X-API-Key": world.editor_key}) as answer:
            assert (await answer.json())["error"]
            return answer.status


async def test_G10_old_connections_move_on_and_lose_nothing(world: System, report: Report) -> None:
    relays = await world.relays(2, CONNECTION_AGE_SECONDS="5")
    async with under_load(world, relays, editors=8, viewers=2) as load:
        async with load.running(), Away(load) as away:
            await load.flows()
            async with asyncio.timeout(60):
                while len(away.seconds) < 10:
                    await asyncio.sleep(0.1)
            states = [await client.state() for client in (*load.editors, *load.viewers)]
        first = sorted(state.closes[0].at for state in states if state.closes)
        assert {close.code for state in states for close in state.closes} == {GOING_AWAY}
        assert all("too old" in close.reason for state in states for close in state.closes)
        note = f"first closes spread over {first[-1] - first[0]:.1f} s, peak of connections per 100 ms: {away.peak}"
        await load.lost_nothing(report, "connections of 5 s are too old", note=note)
        report.add("too old: away", edits=0, lost=0, recovery_seconds=away.seconds)
