"""One run of the whole system: services, people and agents on a simulated world, with faults drawn from a seed.

`Simulation(seed).run()` returns what is wrong, nothing if all is well. The same seed does the same.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import structlog
import tenacity

from boardlog import appender, board_state
from boardlog.entry import unpack
from boardlog.errors import BoardLogError, StorageUnavailable
from boardlog.grant import Role
from boardlog.ids import BoardId
from boardlog.log import Loaded
from boardlog.merge import fold
from boardlog.pacing import Limits
from boardlog.snapshots import Snapshot
from boardlog.stream import RawEntry
from boardlog.update import dissect
from persistence_worker import compaction
from relay import hub, room
from relay.session import CloseCode
from tests.simulation.browser import Browser, Edit
from tests.simulation.faults import Faults
from tests.simulation.ledger import Content, Ledger, screen
from tests.simulation.line import HOP_SECONDS, Line
from tests.simulation.loop import SimulatedLoop
from tests.simulation.processes import Bridge, Compactor, Relay, SteadyTime, WatchedState
from tests.simulation.stores import SimulatedPostgres, SimulatedRedis

OPERATIONS = 120
PAUSE_SECONDS = 0.4
"""The mean time between two operations."""
SETTLE_SECONDS = 100.0
"""After the last fault: a silent line takes 30 s, an append is given up after 20 s, an audit comes every 10 s."""
QUIET_SECONDS = 35.0
"""A stock client whose server says nothing hangs up after 30 s."""
RETURN_SECONDS_MAX = 10
COMPACT_SECONDS = 240.0
"""After that: a sweep comes at the latest after 90 s, what it finds is due 30 s later, a lease takes 60 s."""
AGENT_TRIES_MAX = 20
BROWSERS_MAX = 7
SHARED_KEYS = 3
SMALL_BOUNDS: list[tuple[Any, str, Any]] = [
    (compaction, "SLICE_BYTES_MAX", 20_000),
    (board_state, "FOLD_UPDATES", 10),
    (board_state, "HEAVY_UPDATES", 40),
    (board_state, "READ_HERE_BYTES_MAX", 500),
    (board_state, "COVER_UPDATES_MAX", 3),
    (board_state, "LATELY_BYTES_MAX", 1_000),
    (hub, "READ_HERE_BYTES_MAX", 500),
    (hub, "COVER_UPDATES_MAX", 3),
    (hub, "FOLD_PAUSE_SECONDS", 1.0),
    (room, "TAIL_UPDATES_MIN", 3),
    (appender, "JOINED_UPDATES_MIN", 2),
    (appender, "BOARD_LIMITS", Limits(rate_free=15.0, pause_seconds_per_rate=0.005, pause_seconds_max=0.05)),
    (appender, "NODE_LIMITS", Limits(rate_free=5.0, pause_seconds_per_rate=0.005, pause_seconds_max=0.02)),
]
"""A log here has a few hundred small entries: what is done for large and for busy boards is to happen here too."""
WATCHED: list[tuple[Any, str, Any]] = [(room, "BoardState", WatchedState)]


Compose = Callable[[Mapping[str, Any]], dict[str, Any]]


class Wrong(AssertionError):
    """A guarantee does not hold."""


class Simulation:
    """A seed's world."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loop = SimulatedLoop()
        self.redis = SimulatedRedis(self.loop.time)
        self.postgres = SimulatedPostgres(self.loop.time)
        self.ledger = Ledger()
        self.boards = [BoardId(f"board-{number}") for number in range(self.rng.choice((1, 1, 2)))]
        self.relays: list[Relay] = []
        self.bridges: list[Bridge] = []
        self.workers: list[Compactor] = []
        self.browsers: list[Browser] = []
        self.agents: list[asyncio.Task[None]] = []
        self.has_lost_history = False
        self.trace: list[str] = []
        self.pause_seconds = PAUSE_SECONDS
        self._outer = copy_context()
        self._names = 0
        self.faults = Faults(self)

    # The run

    def run(self, operations: int = OPERATIONS) -> list[str]:
        """Do `operations` things, heal everything, and return what is wrong then."""
        with _deterministic(self.rng):
            try:
                self.loop.run_until_complete(self._run(operations))
            except (Wrong, AssertionError) as error:
                return [f"{type(error).__name__}: {error}", *self.loop.failures]
            finally:
                self._end()
        return self.loop.failures

    async def _run(self, operations: int) -> None:
        self.redis.on_logged = self.ledger.logged
        self.redis.on_load = self._loading
        self.redis.on_trimmed = self._trimmed
        self.postgres.on_stored = self._stored
        for board in self.boards:
            await self.postgres.rows.create(board)
        for _ in range(self.rng.randint(1, 3)):
            self.start_relay()
        for _ in range(self.rng.randint(1, 2)):
            self.start_bridge()
            self.start_worker()
        for _ in range(self.rng.randint(2, 4)):
            self.open_browser()
        for _ in range(operations):
            pause_seconds, self.pause_seconds = self.pause_seconds, PAUSE_SECONDS
            self.redis.is_quiet = pause_seconds > PAUSE_SECONDS
            await asyncio.sleep(self.rng.expovariate(1 / pause_seconds))
            self.faults.step()
            self._check_failures()
        await self._settle()

    async def _settle(self) -> None:
        self.faults.last_words()
        await asyncio.sleep(PAUSE_SECONDS)
        self.note("-- heal")
        self.faults.heal()
        self.redis.is_quiet = True
        await asyncio.sleep(SETTLE_SECONDS)
        self._check_failures()
        closes = {browser: len(browser.closes) for browser in self.browsers}
        await asyncio.sleep(QUIET_SECONDS)
        for browser, count in closes.items():
            if any(code != CloseCode.GOING_AWAY for code in browser.closes[count:]):  # too old, or its node left
                raise Wrong(f"L16: {browser.name} lost its connection in the quiet: {browser.closes[-1]}")
        if self.agents:
            raise Wrong(f"{len(self.agents)} agents' requests never end")
        fresh = [self.open_browser(board, is_editor=False) for board in self.boards]
        await asyncio.sleep(SETTLE_SECONDS / 10)
        await self._everybody_there()
        for board in self.boards:
            await self._check_board(board)
        for browser in fresh:
            self.close_browser(browser)
        await asyncio.sleep(COMPACT_SECONDS)
        for board in self.boards:
            await self._check_compacted(board)
        self._check_failures()

    async def _everybody_there(self) -> None:
        """Wait for who is just on the way to another node, its connection having become too old (G10)."""
        for _ in range(RETURN_SECONDS_MAX):
            were_there = all(browser.socket is not None for browser in self.browsers)
            await asyncio.sleep(1)  # and for what it is sent
            if were_there and all(browser.socket is not None for browser in self.browsers):
                return

    def _end(self) -> None:
        for service in self.services:
            service.process.kill()
        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False
            task.get_coro().close()
        self.loop.close()

    # Who is there

    @property
    def services(self) -> list[Relay | Bridge | Compactor]:
        return [*self.relays, *self.bridges, *self.workers]

    def name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    @property
    def fingerprint(self) -> tuple[float, int, int]:
        """The same for two runs that went the same way: when it ended, and how much happened until then."""
        return self.loop.time(), self.loop.callbacks, self.rng.getrandbits(32)

    def note(self, line: str) -> None:
        self.trace.append(f"{self.loop.time() - 1000:8.3f} {line}")

    def start_relay(self) -> Relay:
        relay = Relay(self.name("relay"), self.redis, self.postgres, self.rng)
        relay.start()
        self.relays.append(relay)
        return relay

    def start_bridge(self) -> None:
        bridge = Bridge(self.name("bridge"), self.redis, self.postgres, self.rng)
        bridge.start()
        self.bridges.append(bridge)

    def start_worker(self) -> None:
        worker = Compactor(self.name("worker"), self.redis, self.postgres, self.rng)
        worker.start()
        self.workers.append(worker)

    def open_browser(
        self, board: BoardId | None = None, *, is_editor: bool | None = None, relay: Relay | None = None
    ) -> Browser:
        """Open a tab, of an editor or not; its first connection goes to `relay`, or whichever the balancer takes."""
        browser = Browser(
            self.name("browser"),
            board or self.rng.choice(self.boards),
            self.rng,
            is_editor=self.rng.random() < 0.8 if is_editor is None else is_editor,
            connect=lambda browser: self._connect(browser, relay),
            seen=self._seen,
        )
        self.browsers.append(browser)
        browser.start()
        return browser

    def close_browser(self, browser: Browser) -> None:
        browser.close()
        self.browsers.remove(browser)

    def _connect(self, browser: Browser, first: Relay | None) -> Line | None:
        """Let the balancer choose a relay that accepts connections, or none."""
        relays = [relay for relay in self.relays if relay.process.is_alive and not relay.is_leaving]
        if not relays:
            return None
        relay = first if first in relays and not browser.closes else self.rng.choice(relays)
        line = Line(browser, self.rng, self._outside)
        self.loop.call_later(self.rng.expovariate(1 / HOP_SECONDS), self._accept, relay, line, browser)
        return line

    def _accept(self, relay: Relay, line: Line, browser: Browser) -> None:
        if not browser.is_open:
            return
        if not relay.process.is_alive or not relay.is_ready:
            browser.closed_before()
            return
        browser.connected(line)
        relay.accept(line, BoardId(browser.board), Role.EDITOR if browser.is_editor else Role.VIEWER)

    def _outside(self, when: float, callback: Callable[..., Any], *args: Any) -> None:
        self.loop.call_at(when, callback, *args, context=self._outer)

    # What people and agents do

    def set(self, browser: Browser) -> None:
        edit = Edit(browser.board, browser.name, f"{browser.name}:{len(self.ledger.edits)}")
        browser.set(edit.key, browser.name, edit=edit)
        self.ledger.add(edit)

    def take_away(self, browser: Browser) -> None:
        gone = {edit.key for edit in browser.made if edit.is_deletion}
        keys = [edit.key for edit in browser.made if edit.key not in gone]
        if keys:
            edit = Edit(browser.board, browser.name, self.rng.choice(keys), is_deletion=True)
            browser.delete(edit.key, edit=edit)
            self.ledger.add(edit)

    def overwrite(self, browser: Browser) -> None:
        browser.set(f"shared:{self.rng.randrange(SHARED_KEYS)}", f"{browser.name} {self.loop.time()}")

    def ask_agent(self) -> None:
        """Have an agent write, as often as it takes: with the same id, so that it is there once."""
        edit = Edit(self.rng.choice(self.boards), "agent", f"agent:{len(self.ledger.edits)}:")
        self.ledger.add(edit)
        task = self.loop.create_task(self._write(edit))
        self.agents.append(task)
        task.add_done_callback(self.agents.remove)

    async def _write(self, edit: Edit) -> None:
        def compose(records: Mapping[str, Any]) -> dict[str, Any]:
            return {} if edit.key in records else {edit.key: {"id": edit.key}}

        for _ in range(AGENT_TRIES_MAX):
            bridges = [bridge for bridge in self.bridges if bridge.process.is_alive and hasattr(bridge, "replicas")]
            if bridges:
                bridge = self.rng.choice(bridges)
                answer: asyncio.Future[bool] = self.loop.create_future()
                bridge.process.start(_answered(bridge, BoardId(edit.board), compose, answer))
                try:
                    async with asyncio.timeout(40):
                        if await answer:
                            edit.is_saved = True
                            return
                except TimeoutError:
                    pass  # the bridge was killed or stopped
            await asyncio.sleep(1)

    # What must not happen on the way

    def _seen(self, browser: Browser, update: bytes) -> None:
        edit = self.ledger.edit_of(update)
        if edit is not None and edit.author != browser.name and not edit.is_in_log:
            raise Wrong(f"G1: {browser.name} sees {edit}, which the log never had")

    def _loading(self, board: BoardId) -> Callable[[Loaded], None]:
        """Hold a load to what the log had when it began, if no store loses anything meanwhile."""
        losses = self.ledger.losses
        must = [edit for edit in self.ledger.edits if edit.board == board and edit.is_in_log and not edit.is_lost]

        def look(loaded: Loaded) -> None:
            has = Content([loaded.snapshot.state, *loaded.updates])
            missing = [edit for edit in must if not has.has(edit)]
            if missing and losses == self.ledger.losses:
                self._goes_wrong(f"L2: what was loaded of {board} lacks {_names(missing)}")

        return look

    def _stored(self, old: Snapshot, new: Snapshot) -> None:
        if not Content([new.state]).covers(dissect(old.state)[0]):
            self._goes_wrong(f"G3: version {new.version} of {new.board} lacks what version {old.version} has")

    def _trimmed(self, board: BoardId, entries: list[RawEntry]) -> None:
        stored = Content([self.postgres.rows.now(board).state])
        missing = [edit for edit in self.ledger.in_entries(board, entries) if not stored.has(edit)]
        if missing:
            self._goes_wrong(f"G3: trimmed from {board}, and in no snapshot: {_names(missing)}")

    def _goes_wrong(self, what: str) -> None:
        """Note it: whoever did it would take an exception for a fault of its store, and try again."""
        self.loop.failures.append(f"Wrong: {what}")

    def _check_failures(self) -> None:
        if self.loop.failures:
            raise Wrong(self.loop.failures[0])
        for service in self.services:
            main = service.main
            if service.process.is_alive and main.done() and not getattr(service, "is_gone", False):
                raise Wrong(f"{service.name} has ended by itself: {main.exception()!r}")

    # What must hold in the end

    async def _check_board(self, board: BoardId) -> None:
        snapshot = await self.postgres.rows.load(board)
        log = [update for entry in await self.redis.streams.read(board) for update in unpack(entry.payload).updates]
        folded = fold(snapshot.state, log)
        if folded.rejected:
            raise Wrong(f"G6: {len(folded.rejected)} updates of {board} cannot be folded")
        has = Content([folded.state])
        must = [edit for edit in self.ledger.edits if edit.board == board and self._must_be_there(edit)]
        if missing := [edit for edit in must if not has.has(edit)]:
            raise Wrong(f"lost from {board}: {_names(missing)}")
        shown = screen(snapshot.state, log)
        if shown != screen(folded.state, []):
            raise Wrong(f"G3: {board} folded is not what it was")
        for browser in self.browsers:
            if browser.board == board:
                self._check_browser(browser, folded.state, shown)

    def _must_be_there(self, edit: Edit) -> bool:
        if edit.is_lost:
            return any(self.still_holds(holder, edit) for holder in edit.holders)
        return edit.is_saved

    def still_holds(self, holder: object, edit: Edit) -> bool:
        """Whether a room or copy that held an edit when it was lost has lived until now."""
        return self.faults.lives(holder, edit)

    def _check_browser(self, browser: Browser, state: bytes, shown: dict[str, object]) -> None:
        if browser.socket is None:
            raise Wrong(f"{browser.name} is not connected, its closes: {browser.closes[-5:]}")
        has = browser.records()
        if browser.is_editor or not self.has_lost_history:
            for key in shown.keys() | has.keys():
                if shown.get(key) != has.get(key):
                    raise Wrong(f"G2: {browser.name} has {key}={has.get(key)!r}, the log {shown.get(key)!r}")
        elif not Content([browser.state()]).covers(dissect(state)[0]):  # it may have more, and is not asked (L13)
            raise Wrong(f"G2: viewer {browser.name} lacks something of the log")
        unsaved = [edit for edit in browser.made if browser.is_editor and not edit.is_saved]
        if unsaved:
            raise Wrong(f"L11: {browser.name} was never told that {_names(unsaved)} is saved")

    async def _check_compacted(self, board: BoardId) -> None:
        snapshot = await self.postgres.rows.load(board)
        entries = await self.redis.streams.read(board)
        if entries and entries[-1].cursor != snapshot.cursor:
            raise Wrong(f"L9: {board} is not compacted: its log ends at {entries[-1].cursor}, not {snapshot.cursor}")
        if len(entries) > 1 and entries[0].cursor.id < snapshot.previous:
            raise Wrong(f"L8: {board} is not trimmed")
        if not (await self.postgres.rows.quarantined(board)) == []:
            raise Wrong(f"G6: {board} has something in quarantine")


async def _answered(bridge: Bridge, board: BoardId, compose: Compose, answer: "asyncio.Future[bool]") -> None:
    try:
        await bridge.write(board, compose)
    except (StorageUnavailable, TimeoutError):
        done = False
    except BoardLogError as error:
        raise Wrong(f"an agent is refused: {error}") from error
    else:
        done = True
    if not answer.done():
        answer.set_result(done)


def _names(edits: list[Edit]) -> str:
    return ", ".join(map(str, edits))


@contextmanager
def _deterministic(rng: random.Random) -> Iterator[None]:
    """Take clock, randomness and log away from the libraries that have their own."""
    state, clock, log = random.getstate(), tenacity.time, structlog.get_config()
    before = [(module, name, getattr(module, name)) for module, name, _ in (*SMALL_BOUNDS, *WATCHED)]
    for module, name, here in (*SMALL_BOUNDS, *WATCHED):
        setattr(module, name, here)
    random.seed(rng.random())
    tenacity.time = SteadyTime
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        random.setstate(state)
        tenacity.time = clock
        for module, name, there in before:
            setattr(module, name, there)
        structlog.configure(**log)
