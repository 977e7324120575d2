"""What happens to a simulated system: a step at a time, drawn from the seed. Each seed has its own mix of faults."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from boardlog.entry import unpack
from boardlog.ids import BoardId
from boardlog.merge import fold
from boardlog.update import dissect
from relay.room import Room
from tests.simulation.browser import Browser, Edit
from tests.simulation.ledger import Content
from tests.simulation.processes import Bridge, Relay

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

SHARE_OF_FAULTS = 0.25
"""Of all steps; the others are people and agents at work."""
AWAY_SECONDS_MAX = 45.0
STOPPED_SECONDS_MAX = 90.0
WEATHER_SECONDS_MAX = 20.0
COMPACTING_SECONDS_MAX = 6.0
RACE_SECONDS = 8.0
RACE_STOPPED_SECONDS = 27.0
"""Long enough for two snapshots to settle in turn, not so long that who has just come hangs up."""
READY_SECONDS = 1.0
"""After which a node that was started usually serves."""
LAST_WORD_SECONDS = 0.3
RACING_STEPS = 12
LOST_ENTRIES_MAX = 12
CLOCK_JUMP_MS_MAX = 60_000
BROWSERS_MAX = 7


class Faults:
    """Draws and carries out steps."""

    def __init__(self, world: "Simulation") -> None:
        self._world = world
        self._rng = world.rng
        every = [
            self._kill_relay, self._stop_relay, self._replace_relay, self._kill_worker, self._stop_worker,
            self._kill_bridge, self._stop_bridge, self._lose_last, self._lose_everything, self._restart_redis,
            self._jump_clock, self._lose_marks, self._database_away, self._database_falls_back, self._bad_weather,
            self._cut_line, self._silence_line, self._slow_line, self._close_tab, self._open_tab, self._compact_now,
            self._wait_long, self._race_a_load, self._fail_over_to_a_slow_clock,
        ]  # fmt: skip
        self.mix: list[Callable[[], None]] = [self._compact_now, self._compact_now, self._open_tab, self._close_tab]
        self.mix += self._rng.sample(every, self._rng.randint(1, len(every)))

    def step(self) -> None:
        """Do one thing."""
        if self._rng.random() < SHARE_OF_FAULTS:
            self._rng.choice(self.mix)()
        else:
            self._work()

    def _work(self) -> None:
        world = self._world
        editors = [browser for browser in world.browsers if browser.is_editor]
        if not editors or self._rng.random() < 0.2:
            world.ask_agent()
            return
        browser = self._rng.choice(editors)
        what = self._rng.choices((world.set, world.take_away, world.overwrite), (6, 2, 2))[0]
        for _ in range(self._rng.choice((1, 1, 1, 5))):
            what(browser)

    def last_words(self) -> None:
        """What is hardest to notice, because nobody says anything after it: lost publishes, or lost marks."""
        world = self._world
        match self._rng.randrange(4):
            case 0:
                world.note("the last words are not published")
                for service in world.services:
                    service.weather.unpublished = 0.7
                for _ in range(3):
                    self._work()
            case 1:
                self._work()
                world.loop.call_later(LAST_WORD_SECONDS, self._lose_marks)

    def heal(self) -> None:
        """End every fault."""
        world = self._world
        world.redis.is_away = world.postgres.is_away = False
        for service in world.services:
            service.weather.clear()
            if service.process.is_alive and service.process.is_stopped:
                service.process.go_on()
        for browser in world.browsers:
            if browser.socket is not None:
                browser.socket.line.take_again()
        if not [relay for relay in world.relays if relay.process.is_alive and not relay.is_leaving]:
            world.start_relay()
        if not world.workers:
            world.start_worker()
        if not world.bridges:
            world.start_bridge()

    # Processes

    def _kill_relay(self) -> None:
        if (relay := self._any(self._world.relays)) is not None:
            self._world.note(f"kill {relay.name}")
            relay.process.kill()
            self._world.relays.remove(relay)
            for line in relay.lines:
                line.cut()
            self._later(5, self._world.start_relay)

    def _stop_relay(self) -> None:
        self._stop(self._world.relays)

    def _replace_relay(self) -> None:
        relay = self._any(self._world.relays)
        if relay is not None and relay.is_ready and not relay.is_leaving and not relay.process.is_stopped:
            self._world.note(f"terminate {relay.name}")
            self._world.start_relay()
            relay.leave()

    def _kill_worker(self) -> None:
        if (worker := self._any(self._world.workers)) is not None:
            self._world.note(f"kill {worker.name}")
            worker.process.kill()
            self._world.workers.remove(worker)
            self._later(10, self._world.start_worker)

    def _stop_worker(self) -> None:
        self._stop(self._world.workers)

    def _kill_bridge(self) -> None:
        if (bridge := self._any(self._world.bridges)) is not None:
            self._world.note(f"kill {bridge.name}")
            bridge.process.kill()
            self._world.bridges.remove(bridge)
            self._later(5, self._world.start_bridge)

    def _stop_bridge(self) -> None:
        self._stop(self._world.bridges)

    def _stop(self, services: list[Any]) -> None:
        service = self._any(services)
        if service is not None and not service.process.is_stopped:
            self._world.note(f"stop {service.name}")
            service.process.stop()
            self._later(STOPPED_SECONDS_MAX, lambda: self._go_on(service))

    def _go_on(self, service: Any) -> None:
        if service.process.is_alive and service.process.is_stopped:
            self._world.note(f"go on {service.name}")
            service.process.go_on()

    # Stores

    def _lose_last(self) -> None:
        """A failover to a replica that lags, perhaps with a slow clock."""
        world = self._world
        for board in world.boards:
            entries = world.redis.streams.now(board)
            count = min(len(entries), self._rng.randint(0, LOST_ENTRIES_MAX))
            if count:
                world.note(f"{board} loses its last {count} of {len(entries)} entries")
                world.redis.streams.lose_last(board, count)
                self._lost(board, entries[len(entries) - count :])
        if self._rng.random() < 0.5:
            self._jump_clock()
        world.redis.cut_subscribers()

    def _fail_over_to_a_slow_clock(self) -> None:
        """The clock is behind the last entry, so ids only count on: those of lost entries are given again (L3)."""
        self._world.redis.clock_ahead_ms -= CLOCK_JUMP_MS_MAX
        self._world.note(f"redis' clock jumps {-CLOCK_JUMP_MS_MAX} ms")
        self._later(WEATHER_SECONDS_MAX / 2, self._lose_last)

    def _lose_everything(self) -> None:
        world = self._world
        world.note("redis loses everything")
        logs = {board: world.redis.streams.now(board) for board in world.boards}
        world.redis.streams.lose_everything()
        world.redis.due.lose_everything()
        for board, entries in logs.items():
            self._lost(board, entries)
        world.redis.cut_subscribers()

    def _lost(self, board: BoardId, entries: list[Any]) -> None:
        world = self._world
        world.has_lost_history = True
        left = [world.postgres.rows.now(board).state]
        left += [update for entry in world.redis.streams.now(board) for update in unpack(entry.payload).updates]
        for edit in world.ledger.lost(board, entries, left):
            edit.holders = [holder for holder, held in self._holders(board) if Content(held).has(edit)]

    def _database_falls_back(self) -> None:
        """A failover to a replica that lacks the last snapshot: the log still has what it needs (L8)."""
        world = self._world
        board = self._rng.choice(world.boards)
        forgotten = world.postgres.fall_back(board)
        if forgotten is None:
            return
        log = [update for entry in world.redis.streams.now(board) for update in unpack(entry.payload).updates]
        left = Content([fold(world.postgres.rows.now(board).state, log).state])
        # Of all that it held, not only of the ledger's edits: whoever overwrites a shared record has none there.
        if left.covers(dissect(forgotten.state)[0]):
            world.note(f"the database falls back to version {forgotten.version - 1} of {board}")
            world.ledger.losses += 1
        elif world.has_lost_history:
            # The log has lost the same a moment ago. That is more than anybody promises: nobody could notice it.
            world.postgres.rows.fall_back(forgotten)
        else:
            raise AssertionError(f"L8: version {forgotten.version} of {board} cannot be made again")

    def _holders(self, board: BoardId) -> list[tuple[object, list[bytes]]]:
        """Return what every living room and copy of a board holds."""
        held: list[tuple[object, list[bytes]]] = []
        for relay in self._world.relays:
            opened = relay.hub._rooms.get(board) if relay.is_ready else None
            if opened is not None and opened.room.state is not None:
                base, updates = opened.room.state.parts()
                held.append(((relay, opened.room), [base, *updates]))
        for bridge in self._world.bridges:
            copy = bridge.replicas._held.get(board) if hasattr(bridge, "replicas") else None
            if copy is not None and copy.replica._doc is not None:
                held.append(((bridge, copy.replica), [copy.replica._doc.get_update()]))
        return held

    def lives(self, holder: Any, edit: Edit) -> bool:
        """Whether a holder still is what it was: the same room, or a copy in a bridge that was not killed."""
        service, held = holder
        if isinstance(service, Bridge):
            return service in self._world.bridges
        assert isinstance(held, Room)
        opened = service.hub._rooms.get(edit.board)
        return service in self._world.relays and opened is not None and opened.room is held

    def _restart_redis(self) -> None:
        self._world.note("redis goes away")
        self._world.redis.is_away = True
        self._world.redis.cut_subscribers()
        self._later(AWAY_SECONDS_MAX, self._redis_is_back)

    def _redis_is_back(self) -> None:
        self._world.note("redis is back")
        self._world.redis.is_away = False

    def _jump_clock(self) -> None:
        jump_ms = self._rng.randint(-CLOCK_JUMP_MS_MAX, CLOCK_JUMP_MS_MAX)
        self._world.note(f"redis' clock jumps {jump_ms} ms")
        self._world.redis.clock_ahead_ms += jump_ms

    def _lose_marks(self) -> None:
        self._world.note("the due set is lost")
        self._world.redis.due.lose_everything()

    def _database_away(self) -> None:
        self._world.note("the database goes away")
        self._world.postgres.is_away = True
        self._later(AWAY_SECONDS_MAX, self._database_is_back)

    def _database_is_back(self) -> None:
        self._world.note("the database is back")
        self._world.postgres.is_away = False

    def _compact_now(self) -> None:
        """Have boards compacted, perhaps again and again for a while, whoever is at it already."""
        self._world.redis.due.mark_now(self._world.boards, 0)
        for _ in range(self._rng.choice((0, 0, 6))):
            self._later(COMPACTING_SECONDS_MAX, lambda: self._world.redis.due.mark_now(self._world.boards, 0))

    # Lines

    def _bad_weather(self) -> None:
        """Between the stores and everybody, or one alone."""
        lost, late, unpublished = (self._rng.choice(some) for some in ((0, 0.02, 0.2), (0, 0.1, 0.5), (0, 0.1, 0.5)))
        services = self._rng.choice((self._world.services, [self._any(self._world.services)]))
        names = " ".join(service.name for service in services if service)
        self._world.note(f"weather: lost {lost}, late {late}, unpublished {unpublished} for {names}")
        for service in filter(None, services):
            service.weather.lost, service.weather.late, service.weather.unpublished = lost, late, unpublished
            self._later(WEATHER_SECONDS_MAX, service.weather.clear)

    def _race_a_load(self) -> None:
        """Somebody opens a board at a new node whose reads are slow, while it is edited and compacted."""
        relay, board = self._world.start_relay(), self._rng.choice(self._world.boards)
        self._world.loop.call_later(READY_SECONDS, self._begin_the_load, relay, board)

    def _begin_the_load(self, relay: Relay, board: BoardId) -> None:
        if relay in self._world.relays and relay.is_ready:
            self._world.note(f"{relay.name} is slow")
            relay.weather.late = 1.0
            self._world.open_browser(board, is_editor=False, relay=relay)
            self._race_the_load(relay, board)

    def _race_the_load(self, relay: Relay, board: BoardId) -> None:
        """Once it has begun, compact again and again; or twice, while the node is stopped in its midst.

        Between those two the first snapshot settles, so that the second one trims what the node is about to read (L2).
        """
        world = self._world
        opened = relay.hub._rooms.get(board)
        if relay not in world.relays or not relay.weather.late:
            return
        if opened is None or opened.follow._task is None:
            world.loop.call_later(LAST_WORD_SECONDS, self._race_the_load, relay, board)
            return
        seconds, compact_at = RACE_SECONDS, [self._rng.uniform(0, RACE_SECONDS) for _ in range(RACING_STEPS)]
        if self._rng.random() < 0.5:
            seconds, compact_at = RACE_STOPPED_SECONDS, [RACE_SECONDS / 2, RACE_STOPPED_SECONDS - RACE_SECONDS / 2]
            self._later(RACE_SECONDS, relay.process.stop)
            world.loop.call_later(seconds, self._go_on, relay)
        for at in compact_at:
            world.loop.call_later(at, lambda: world.redis.due.mark_now(world.boards, 0))
        for _ in range(RACING_STEPS):
            self._later(seconds, self._work)
        world.loop.call_later(seconds, relay.weather.clear)

    def _cut_line(self) -> None:
        if (browser := self._connected()) is not None and browser.socket is not None:
            self._world.note(f"cut {browser.name}")
            browser.socket.line.cut()

    def _silence_line(self) -> None:
        if (browser := self._connected()) is not None and browser.socket is not None:
            self._world.note(f"silence {browser.name}")
            browser.socket.line.is_silent = True

    def _slow_line(self) -> None:
        if (browser := self._connected()) is not None and browser.socket is not None:
            self._world.note(f"slow {browser.name}")
            line = browser.socket.line
            line.is_slow = True
            self._later(WEATHER_SECONDS_MAX, line.take_again)

    def _close_tab(self) -> None:
        if (browser := self._any(self._world.browsers)) is not None:
            self._world.note(f"close {browser.name}")
            self._world.close_browser(browser)

    def _open_tab(self) -> None:
        if len(self._world.browsers) < BROWSERS_MAX:
            browser = self._world.open_browser()
            self._world.note(f"open {browser.name}")

    def _wait_long(self) -> None:
        """Nothing happens for long enough that rooms close, and snapshots settle."""
        self._world.note("six minutes pass")
        self._world.pause_seconds = 360.0

    def _connected(self) -> Browser | None:
        return self._any([browser for browser in self._world.browsers if browser.socket is not None])

    def _any(self, choices: list[Any]) -> Any:
        return self._rng.choice(choices) if choices else None

    def _later(self, seconds_max: float, callback: Callable[[], Any]) -> None:
        self._world.loop.call_later(self._rng.uniform(0, seconds_max), callback)


__all__ = ["Faults", "Relay"]
