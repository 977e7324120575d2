"""G7: slow, stuck and half-open clients by the hundred beside healthy ones, on a real relay.

Memory stays within what the limits say, the slow ones are closed (or cut) and may come back, the healthy ones see
everything. Latencies are told, not asserted.
"""

import asyncio
import itertools
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from tests.faults import crowd
from tests.faults.report import Report, percentile
from tests.faults.slowclient import Peak, close_code, metric, rss_bytes, slow_client
from tests.rawclient import EMPTY_STATE_VECTOR, RawClient, framed, raw_client
from tests.services import Service, System, system

MIB = 1 << 20
HEALTHY = 10
EDITS_PER_SECOND = 5
BOARD_MIB = 4
OUTBOXES_BYTES_MAX = 48 * MIB
SOCKET_BYTES = 192 * 1024
"""What a connection may cost beside its outbox: 64 KiB in the transport, as much in the reader, aiohttp's objects."""
STATES = 10
"""As many times the board is in memory for a moment, beside the outboxes: as loaded, framed, and cut for one client."""


@pytest.fixture
async def board_relay(redis_url, database, redis_key_prefix, tmp_path: Path) -> AsyncIterator[tuple[System, Service]]:
    """A relay with a board of some MiB, and bounds that a test reaches soon."""
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        relay = await made.start(
            "relay", OUTBOX_SECONDS_MAX="3", HEARTBEAT_SECONDS="4", OUTBOXES_BYTES_MAX=str(OUTBOXES_BYTES_MAX)
        )
        async with joined(made, relay) as writer:
            for number in range(BOARD_MIB):
                await writer.send(framed("update", large_update(number + 1)))
                await writer.receive_until("update", 30)
        yield made, relay


def joined(system: System, relay: Service):
    return raw_client(f"{relay.ws}/{system.board}", params={"apiKey": system.editor_key})


def large_update(client_id: int, size: int = MIB) -> bytes:
    doc: Doc[Any] = Doc(client_id=client_id)
    doc.get("tldraw", type=Map)[f"large-{client_id}"] = "x" * size
    return doc.get_update()


class Editors:
    """Healthy clients: each edits, each sees what all of them edit, and how soon."""

    def __init__(self, clients: list[RawClient]) -> None:
        self.latencies: list[float] = []
        self.sent: dict[bytes, float] = {}
        self.seen: list[set[bytes]] = [set() for _ in clients]
        self._clients = clients
        self._docs = [Doc(client_id=1000 + number) for number in range(len(clients))]
        self._numbers = itertools.count()

    async def edit(self, seconds: float) -> list[float]:
        """Edit for so long; return the latencies of every edit at every client, ascending."""
        self.latencies = []
        async with asyncio.timeout(seconds + 60):
            await asyncio.gather(*(self._edit(*each, seconds) for each in zip(self._clients, self._docs, strict=True)))
            while any(len(seen) < len(self.sent) for seen in self.seen):
                await asyncio.sleep(0.01)
        return sorted(self.latencies)

    async def _edit(self, client: RawClient, doc: "Doc[Any]", seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = doc.get_state()
            doc.get("tldraw", type=Map)[f"edit-{next(self._numbers)}"] = 1
            update = doc.get_update(before)
            self.sent[update] = time.monotonic()
            await client.send(framed("update", update))
            await asyncio.sleep(1 / EDITS_PER_SECOND)

    async def hear(self, client: RawClient, seen: set[bytes]) -> None:
        while True:
            frame = await client.receive(60)
            if frame.kind == "update" and frame.body in self.sent and frame.body not in seen:
                seen.add(frame.body)
                self.latencies.append(time.monotonic() - self.sent[frame.body])


@asynccontextmanager
async def editors(system: System, relay: Service) -> AsyncIterator[Editors]:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(joined(system, relay)) for _ in range(HEALTHY)]
        made = Editors(clients)
        async with asyncio.TaskGroup() as hearing:  # a healthy client that is closed ends the test
            tasks = [hearing.create_task(made.hear(*each)) for each in zip(clients, made.seen, strict=True)]
            yield made
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def misbehaving(system: System, relay: Service) -> AsyncIterator[Process]:
    """Have a process of its own let slow clients of all kinds join at once; it ends when the relay has ended them."""
    process = await asyncio.create_subprocess_exec(
        *crowd.command(relay.port, system.board, system.editor_key), stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_G7_slow_clients_by_the_hundred_cost_only_themselves(board_relay, report: Report) -> None:
    made, relay = board_relay
    slow = crowd.SLOW_OF_A_KIND * len(crowd.KINDS)
    async with editors(made, relay) as healthy:
        notes = []
        await healthy.edit(1)
        before = rss_bytes(relay)
        bound = OUTBOXES_BYTES_MAX + (slow + HEALTHY) * SOCKET_BYTES + STATES * BOARD_MIB * MIB
        async with Peak(relay) as peak:
            for _ in range(2):
                alone = await healthy.edit(3)
                async with misbehaving(made, relay) as process:
                    assert process.stdout is not None
                    assert await process.stdout.readline() == b"started\n"
                    beside = await healthy.edit(6)
                    async with asyncio.timeout(60):
                        seconds = float(await process.stdout.read())
                told = [f"{percentile(times, 0.99) * 1000:.0f} ms" for times in (alone, beside)]
                notes.append(f"p99 {told[0]} alone, {told[1]} beside {slow}, all gone after {seconds:.1f} s")
        grown = peak.bytes - before
        notes.append(f"RSS {before / MIB:.0f} MiB + {grown / MIB:.0f} MiB (bound {bound / MIB:.0f})")
        report.add("slow clients", edits=len(healthy.sent), lost=0, note="; ".join(notes))
        assert grown < bound
        assert await metric(relay, "relay_too_slow_total") > 0
        async with joined(made, relay) as comes_back:
            assert (await comes_back.receive_until("step1")).body
            await comes_back.send(framed("step1", EMPTY_STATE_VECTOR))
            await comes_back.receive_until("step2", 30)
        await healthy.edit(1)
    assert [await metric(relay, name) for name in ("relay_outboxes_bytes", "relay_outboxes_behind")] == [0, 0]


async def test_G7_a_slow_client_is_told_so_between_two_fragments_and_may_come_back(board_relay) -> None:
    made, relay = board_relay
    async with slow_client(relay.port, made.board, made.editor_key) as client:
        await client.ask()
        async with asyncio.timeout(30):
            while not await metric(relay, "relay_too_slow_total"):
                await asyncio.sleep(0.05)
        frames = await client.read_to_the_end()
    assert close_code(frames) == 4508
    openings = {opening for opening, _ in frames}
    assert 0x02 in openings, "the board was on its way, in fragments"
    assert 0x80 not in openings, "and not to its end"


async def test_G7_many_joiners_of_a_large_board_share_it(board_relay) -> None:
    made, relay = board_relay
    async with AsyncExitStack() as stack:
        before = rss_bytes(relay)
        async with Peak(relay) as peak:
            for _ in range(200):
                await (await stack.enter_async_context(slow_client(relay.port, made.board, made.editor_key))).ask()
            async with asyncio.timeout(30):
                while await metric(relay, "relay_outboxes_behind") + await metric(relay, "relay_too_slow_total") < 200:
                    await asyncio.sleep(0.05)
        assert peak.bytes - before < 200 * SOCKET_BYTES + STATES * BOARD_MIB * MIB, "of 800 MiB if each had a copy"
