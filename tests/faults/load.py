"""Load on a running system, and the ledger of all that was made: what every test of a fault has in common.

async with under_load(world, relays, bridges) as load:
    async with load.running():
        await load.flows()                 # every client's edits reach another one
        await load.fault()                 # from now on it counts who is back, and when
        relays[0].kill()
        back = await load.back(seconds_max=15)
    await load.settled()
    lost = await load.lost()
assert lost == []
"""

import asyncio
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from pycrdt import Doc, Map

from boardlog.due import RedisDue
from boardlog.keys import Keys
from boardlog.log import BoardLog
from boardlog.merge import fold
from boardlog.scripts import Scripts
from tests.balancer import RoundRobin
from tests.cable import Cable
from tests.faults.report import Report
from tests.services import Service, System
from tests.stockclient import Close, StockClient, StockClientError, StockClients, Version

EDIT_EVERY_SECONDS = 0.1
EDITS_PER_CLIENT_MAX = 3000
ITEM_PAUSE_SECONDS = 0.2
ITEMS_PER_AGENT_MAX = 1500
REQUEST_SECONDS_MAX = 10.0
"""An agent that has no answer by then asks again, with the same item id."""
REPEAT_SECONDS = (0.1, 0.5)
"""It waits between these two before it does."""
NOTICED_SECONDS = 0.5
"""Whose edits took longer than this after a fault has noticed it, though the connection may have stood."""
FLOWS_EDITS = 100
FLOWS_SECONDS_MAX = 30.0
SETTLED_SECONDS_MAX = 60.0
GOAL_MISSED_BY = 3
"""Goals are printed beside what was measured; a machine that is busy may miss one, but not by this factor."""

FIRST_RECORDS = {"document:document", "page:page"}

VERSIONS: tuple[Version, ...] = ("3", "2")


@dataclass(frozen=True, slots=True)
class Back:
    """How one client lived through a fault."""

    client: str
    seconds: float
    """From the fault until an edit that it made after the fault was on another client's screen; for a viewer, until
    such an edit of anybody's reached it. Measured in Node, where it happens."""
    closes: list[Close]
    """What closed its connections since the fault."""

    @property
    def noticed(self) -> bool:
        """Whether its connection ended, or its edits were held up."""
        return bool(self.closes) or self.seconds > NOTICED_SECONDS


@dataclass
class Agent:
    """Posts items, each until it is answered: with the same id, so that 409 says that an earlier attempt has it."""

    name: str
    url: str
    key: str
    pause_seconds: float
    items: list[str] = field(default_factory=list)
    """Ids of the items that were answered."""
    repeated: int = 0
    """Attempts that were not answered, or with 503."""
    fault_at: float = float("inf")
    back: asyncio.Future[Back] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """How soon after the fault a request was answered that was made after it."""

    def fault(self) -> None:
        """From now on it counts when a request is answered."""
        self.fault_at = asyncio.get_running_loop().time()
        self.back = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event) -> None:
        """Post one item after another until `stop` is set; what was begun is brought to its end."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(REQUEST_SECONDS_MAX)) as http:
            while not stop.is_set() and len(self.items) < ITEMS_PER_AGENT_MAX:
                await self._post(http, f"{self.name}-{len(self.items)}")
                await asyncio.sleep(self.pause_seconds)

    async def _post(self, http: aiohttp.ClientSession, item_id: str) -> None:
        loop = asyncio.get_running_loop()
        item = {"id": item_id, "type": "sticky", "x": 0, "y": 0, "content": {"text": item_id}}
        while True:
            began_at = loop.time()
            try:
                async with http.post(self.url, json=item, headers={"X-API-Key": self.key}) as answer:
                    assert answer.status in {201, 409, 503}, f"{answer.status}: {await answer.text()}"
                    if answer.status != 503:
                        break
            except (aiohttp.ClientError, TimeoutError):
                pass
            self.repeated += 1
            await asyncio.sleep(random.uniform(*REPEAT_SECONDS))
        self.items.append(item_id)
        if not self.back.done() and began_at >= self.fault_at:
            self.back.set_result(Back(self.name, loop.time() - self.fault_at, []))


@dataclass
class Load:
    """Stock clients and agents on one board, reached through balancers without affinity; made by `under_load`."""

    system: System
    clients: StockClients
    relays: RoundRobin
    """What the clients connect to; its `backends` may be changed at any time."""
    bridges: RoundRobin
    """What the agents connect to."""
    editors: list[StockClient]
    viewers: list[StockClient]
    agents: list[Agent]
    name: str

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have all of them edit at a steady pace; at the end nobody makes anything new."""
        stop = asyncio.Event()
        await self._call("loadStart", everyMs=EDIT_EVERY_SECONDS * 1000, editsMax=EDITS_PER_CLIENT_MAX)
        async with asyncio.TaskGroup() as tasks:
            for agent in self.agents:
                tasks.create_task(agent.run(stop))
            try:
                yield
            finally:
                stop.set()
                await self._call("loadStop")

    async def flows(self) -> None:
        """Wait until edits go both ways for everybody, agents are answered, and FLOWS_EDITS more edits are made."""
        await self.fault()
        await self._call("loadGrow", FLOWS_SECONDS_MAX, edits=FLOWS_EDITS)
        await self.back(FLOWS_SECONDS_MAX)
        await self.agents_back(FLOWS_SECONDS_MAX)

    async def fault(self) -> None:
        """Note the moment of a fault: call it just before."""
        await self._call("loadFault")
        for agent in self.agents:
            agent.fault()

    async def agents_back(self, seconds_max: float) -> list[Back]:
        """Wait until every agent has been answered; return how soon after the fault. Needs the load to be running."""
        async with asyncio.timeout(seconds_max):
            return [await asyncio.shield(agent.back) for agent in self.agents]

    async def back(self, seconds_max: float) -> list[Back]:
        """Wait until every client is back; return how each fared since the fault. Needs the load to be running."""
        found = await self._call("loadBack", seconds_max)
        return [Back(one["client"], one["seconds"], [Close(**close) for close in one["closes"]]) for one in found]

    async def settled(self, seconds_max: float = SETTLED_SECONDS_MAX) -> None:
        """Wait until every client has all that was made, agents' items too, and all of them hold the same."""
        await self._call("loadSettled", seconds_max, keys=self.item_keys)

    async def compacted(self, seconds_max: float = SETTLED_SECONDS_MAX) -> None:
        """Have the board compacted now; wait until its snapshot holds all of the log. Needs a worker, and no edits."""
        stores = self.system.stores
        await self.mark_due()
        async with asyncio.timeout(seconds_max):
            while await stores.snapshots.load_cursor(self.system.board) != await stores.streams.head(self.system.board):
                await asyncio.sleep(0.1)

    async def mark_due(self) -> None:
        """Make the board due for compaction, as if its last client had left."""
        redis = self.system.stores.redis
        due = RedisDue(redis, Scripts(redis), Keys(self.system.redis_key_prefix))
        await due.mark([self.system.board], 0)

    async def lost(self) -> list[str]:
        """Say what is missing: of what any client holds and any agent was answered, and what nobody made.

        On the board of a fresh joiner, and in the log (snapshot and stream).
        """
        expected = {*await self._call("loadHeld"), *self.item_keys}
        async with self.joiner() as joiner:
            on_board = set(await joiner.dump())
        in_log = await self._in_log()
        return sorted(
            [f"{key} is not on a joiner's board" for key in expected - on_board]
            + [f"{key} is not in the log" for key in expected - in_log]
            + [f"{key} is on the board and nobody made it" for key in on_board - expected]
        )

    async def doubled(self) -> list[str]:
        """Return the keys that were set twice, though each was made once; only the later of the two shows.

        But for an empty board's first records: two bridges that find it empty at once both make them, the same ones.
        """
        async with self.joiner() as joiner:
            return sorted(set(await self.clients.call("doubled", client=joiner.name)) - FIRST_RECORDS)

    async def lost_nothing(
        self,
        report: Report,
        fault: str,
        back: Sequence[Back] = (),
        *,
        goal_seconds: float = 0,
        note: str = "",
        may_repeat: bool = False,
    ) -> None:
        """Wait until all is settled, add a row to the report, and assert that nothing is lost or doubled.

        `goal_seconds` is what recovery ought to take at most, for those who noticed the fault, or all if nobody did.
        `may_repeat`: an agent asked two bridges for the same item, because the first did not answer; both may have set
        it, and one item shows.
        """
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        unsettled: StockClientError | None = None
        try:
            await self.settled()
        except StockClientError as error:  # what is missing tells more: it is looked up first
            unsettled = error
        settled_seconds = loop.time() - began_at
        lost, doubled = await self.lost(), await self.doubled()
        times = [one.seconds for one in back if one.noticed] or [one.seconds for one in back]
        notes = [
            f"goal {goal_seconds:g} s" if goal_seconds else "",
            f"last edits everywhere after {settled_seconds:.1f} s" if settled_seconds > NOTICED_SECONDS else "",
            f"{len(doubled)} items set twice" if doubled else "",
            note,
        ]
        report.add(
            fault,
            edits=await self.made(),
            lost=len(lost),
            recovery_seconds=times,
            note=", ".join(filter(None, notes)),
        )
        assert not lost, lost
        if unsettled is not None:
            raise unsettled
        assert not doubled or (may_repeat and set(doubled) <= set(self.item_keys)), doubled
        assert not goal_seconds or max(times, default=0) <= goal_seconds * GOAL_MISSED_BY, (
            f"{fault}: back after {times}"
        )

    @property
    def item_keys(self) -> list[str]:
        """The records of the items that agents were answered for."""
        return [f"shape:{item}" for agent in self.agents for item in agent.items]

    @property
    def repeated(self) -> int:
        """How many of the agents' requests were not answered, or with 503, and so were made again."""
        return sum(agent.repeated for agent in self.agents)

    async def made(self) -> int:
        """Return how many changes people and agents have made so far."""
        return int(await self._call("loadEdits")) + len(self.item_keys)

    async def _in_log(self) -> set[str]:
        loaded = await BoardLog(self.system.stores.streams, self.system.stores.snapshots).load(self.system.board)
        doc: Doc[object] = Doc()
        records = doc.get("tldraw", type=Map)
        doc.apply_update(fold(loaded.snapshot.state, loaded.updates).state)
        return set(records)

    @asynccontextmanager
    async def joiner(self) -> AsyncIterator[StockClient]:
        """Yield a viewer who has just joined and has the board."""
        joiner = await self._open(VERSIONS[0], self.system.viewer_key)
        try:
            await joiner.wait_synced(seconds_max=FLOWS_SECONDS_MAX)
            yield joiner
        finally:
            await joiner.destroy()

    async def _open(self, version: Version, key: str) -> StockClient:
        return await self.clients.open(f"{self.relays.url}/ws", self.system.board, key=key, version=version)

    async def _call(self, command: str, seconds_max: float = 0, **arguments: object) -> object:
        return await self.clients.call(command, seconds_max, load=self.name, **arguments)


@asynccontextmanager
async def under_load(
    system: System,
    relays: Sequence[Service | Cable],
    bridges: Sequence[Service | Cable] = (),
    *,
    editors: int = 6,
    viewers: int = 2,
    agents: int = 1,
    pause_seconds: float = ITEM_PAUSE_SECONDS,
) -> AsyncIterator[Load]:
    """Yield clients that are synced, spread over the relays, half of them old; agents only where there is a bridge.

    An agent pauses after each item; with no pause it has a request under way at any moment.
    """
    async with (
        StockClients() as clients,
        RoundRobin(*(relay.url for relay in relays)) as to_relays,
        RoundRobin(*(bridge.url for bridge in bridges)) as to_bridges,
    ):
        url = f"http{to_bridges.url.removeprefix('ws')}/v1/boards/{system.board}/items"
        names = [f"agent{number}-{secrets.token_hex(4)}" for number in range(agents if bridges else 0)]
        load = Load(
            system, clients, to_relays, to_bridges, [], [],
            [Agent(name, url, system.editor_key, pause_seconds) for name in names],
            next(_NAMES),
        )  # fmt: skip
        for many, key, opened in (
            (editors, system.editor_key, load.editors),
            (viewers, system.viewer_key, load.viewers),
        ):
            for number in range(many):
                opened.append(await load._open(VERSIONS[number // len(relays) % len(VERSIONS)], key))
        everybody = [*load.editors, *load.viewers]
        await asyncio.gather(*(client.wait_synced(seconds_max=FLOWS_SECONDS_MAX) for client in everybody))
        await load._call(
            "loadOpen", clients=[one.name for one in everybody], editors=[one.name for one in load.editors]
        )
        yield load


_NAMES = (f"load-{number}" for number in itertools.count(1))
