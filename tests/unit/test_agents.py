"""Agents that people see: who is shown, for how long, and what the relays make of it."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from boardlog.awareness import GONE, STATE_BYTES_MAX, State, decode
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.presence_channel import Kind, pack, unpack
from boardlog.tail import Listener
from bridge.agent_presence import TICK_SECONDS, AgentPresence
from bridge.agents import (
    AGENT_PRESENT_SECONDS,
    AGENTS_MAX,
    AGENTS_PER_BOARD_MAX,
    NAME_CHARS_MAX,
    NOWHERE,
    Place,
    Roster,
    awareness_state,
    name_of,
    place_of,
)
from bridge.geometry import Point
from relay.presence import Presence
from tests.presencefakes import Clock

BOARD, OTHER = BoardId("board"), BoardId("other")
PAGE = {"page:page": {"id": "page:page", "typeName": "page", "name": "", "index": "a1", "meta": {}}}


def shape(key: str, parent: str, **more: Any) -> dict[str, Any]:
    return {
        key: {"id": key, "typeName": "shape", "type": "frame", "x": 10, "y": 20, "parentId": parent, "props": {}} | more
    }


# What is shown


def test_an_agent_is_where_it_wrote_in_page_coordinates() -> None:
    board = PAGE | shape("shape:frame", "page:page") | shape("shape:note", "shape:frame", x=1, y=2)
    assert place_of(board, "note") == Place("page:page", Point(11, 22), "shape:note")
    assert json.loads(awareness_state("agent-7", place_of(board, "note"))) == {
        "user": {"name": "agent-7", "color": json.loads(awareness_state("agent-7", NOWHERE))["user"]["color"],
                 "type": "agent"},
        "cursor": {"x": 11, "y": 22}, "selection": ["shape:note"], "canvas": {"page": "page:page"},
    }  # fmt: skip


@pytest.mark.parametrize("board", [{}, shape("shape:note", "page:gone"), shape("shape:note", "shape:note")])
def test_an_agent_without_a_place_is_shown_all_the_same(board: dict[str, Any]) -> None:
    state = json.loads(awareness_state("agent-7", place_of(board, "note")))
    assert state["user"]["name"] == "agent-7"
    assert state["canvas"] == {}


def test_a_colour_is_a_names_own() -> None:
    colors = [json.loads(awareness_state(f"agent-{n}", NOWHERE))["user"]["color"] for n in range(50)]
    assert colors == [json.loads(awareness_state(f"agent-{n}", NOWHERE))["user"]["color"] for n in range(50)]
    assert len(set(colors)) > 5
    assert all(len(color) == 7 and int(color.removeprefix("#"), 16) for color in colors)


def test_a_name_is_the_first_that_there_is_and_bounded() -> None:
    assert name_of("agent-7", "a key's label") == "agent-7"
    assert name_of(None, " a key's label ") == "a key's label"
    assert name_of(" ", "") == "Agent"
    assert name_of("n" * 1000) == "n" * NAME_CHARS_MAX


def test_a_hostile_boards_keys_do_not_make_a_state_too_large() -> None:
    state = awareness_state("agent-7", Place("page:page", Point(1, 2), "shape:" + "s" * STATE_BYTES_MAX))
    assert len(state) < 1000
    assert json.loads(state)["selection"] == []


# Who is shown


def names(roster: Roster, board: BoardId) -> list[str]:
    roster.take_changes()
    roster.tell_again(board)
    return [json.loads(state.json)["n"] for state in roster.take_changes().get(board, [])]


def named(name: str) -> bytes:
    return json.dumps({"n": name}).encode()


@pytest.fixture
def roster() -> Roster:
    ids = count(1)
    return Roster(lambda _: next(ids))


def test_a_board_has_a_bounded_number_of_agents_and_the_oldest_leaves_first(roster: Roster) -> None:
    for n in range(AGENTS_PER_BOARD_MAX):
        roster.wrote(BOARD, f"{n}", named(f"{n}"), float(n))
    roster.wrote(BOARD, "0", named("0"), 100.0)
    roster.take_changes()
    roster.wrote(BOARD, "new", named("new"), 101.0)
    changes = roster.take_changes()[BOARD]
    assert [state.client for state in changes if state.json == GONE] == [2]
    assert names(roster, BOARD) == [*(f"{n}" for n in range(2, AGENTS_PER_BOARD_MAX)), "0", "new"]


def test_all_boards_together_have_a_bounded_number_of_agents(roster: Roster) -> None:
    for n in range(AGENTS_MAX + 5):
        roster.wrote(BoardId(f"board-{n}"), "one", named("one"), float(n))
    assert len(roster.boards()) == AGENTS_MAX
    assert BoardId("board-4") not in roster.boards()
    assert BoardId("board-5") in roster.boards()


# What relays make of it


class World:
    """A bridge and any number of relays on one board's channel, which gives everyone every message at once."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.listeners: dict[str, Listener] = {}
        self.heard: list[bytes] = []
        self.relays: list[Relay] = []
        self.ids = count(1000)
        self.bridge = self.start_bridge("bridge")

    def start_bridge(self, node: str) -> AgentPresence:
        return AgentPresence(node, Roster(lambda _: next(self.ids)), self, self.publish, Keys(), self)

    # tail.Tail
    def listen(self, channel: str, listener: Listener) -> None:
        assert channel not in self.listeners
        self.listeners[channel] = listener
        self.clock.call_later(0.0, listener.subscribed)

    def leave(self, channel: str, listener: Listener) -> None:
        assert self.listeners.pop(channel) is listener

    # An event loop
    def time(self) -> float:
        return self.clock.seconds

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        return self.clock.call_later(delay, callback)

    def publish(self, board: BoardId, message: bytes) -> None:
        self.heard.append(message)
        for relay in self.relays:
            if board == BOARD:
                relay.presence.received(message)
        listener = self.listeners.get(Keys().presence(board))
        if listener is not None:
            listener.received(message)

    def states(self) -> list[State]:
        heard, self.heard = self.heard, []
        return [state for sender, kind, body in map(unpack, heard) if kind is Kind.STATES for state in decode(body)]

    def wrote(self, name: str = "agent-7", board: BoardId = BOARD, page: str = "page:page") -> None:
        self.bridge.wrote(board, name, Place(page, Point(1, 2), "shape:a"))


class Relay:
    """A node with a room of the board (presence.Shell)."""

    def __init__(self, name: str, world: World) -> None:
        self.call_later = world.clock.call_later
        self.call_at = world.clock.call_at
        self._world = world
        self.presence = Presence(name, {}, self)
        world.relays.append(self)
        self.presence.subscribed()

    def publish(self, message: bytes) -> None:
        self._world.publish(BOARD, message)

    def now(self) -> float:
        return self._world.clock.seconds

    def shown(self) -> list[str]:
        """Return the names that a newcomer is shown."""
        return [json.loads(state.json)["user"]["name"] for state in self.presence._states.present()]


@pytest.fixture
def world() -> World:
    return World()


def test_an_agent_is_shown_from_its_write_until_its_time_is_up(world: World) -> None:
    relay = Relay("relay", world)
    world.wrote()
    world.clock.pass_(0.0)
    assert relay.shown() == ["agent-7"]
    world.clock.pass_(AGENT_PRESENT_SECONDS - 1)
    assert relay.shown() == ["agent-7"]
    world.clock.pass_(1)
    assert relay.shown() == []
    assert world.listeners == {}
    *shown, gone = world.states()
    assert gone.json == GONE
    assert gone.clock > max(state.clock for state in shown)  # whoever has heard otherwise of it believes it


def test_each_write_lets_it_stay_longer_and_moves_it(world: World) -> None:
    relay = Relay("relay", world)
    for n in range(20):
        world.wrote(page=f"page:{n}")
        world.clock.pass_(AGENT_PRESENT_SECONDS - 1)
        [state] = relay.presence._states.present()
        assert json.loads(state.json)["canvas"]["page"] == f"page:{n}"
    assert len({state.client for state in world.states()}) == 1
    world.clock.pass_(1)
    assert relay.shown() == []


def test_a_room_that_opens_later_is_told_and_lets_go_at_the_same_time(world: World) -> None:
    world.wrote()
    world.clock.pass_(10)
    relay = Relay("late relay", world)
    world.clock.pass_(TICK_SECONDS)
    assert relay.shown() == ["agent-7"]
    world.clock.pass_(AGENT_PRESENT_SECONDS - 10)
    assert relay.shown() == []


def test_a_bridge_that_was_deaf_for_a_moment_tells_again(world: World) -> None:
    world.wrote()
    world.clock.pass_(1)
    listener = world.listeners.pop(Keys().presence(BOARD))
    relay = Relay("relay", world)
    world.clock.pass_(1)
    assert relay.shown() == []
    world.listeners[Keys().presence(BOARD)] = listener
    listener.subscribed()
    world.clock.pass_(TICK_SECONDS)
    assert relay.shown() == ["agent-7"]


def test_an_agent_that_comes_back_is_a_new_client_that_no_old_clock_hides(world: World) -> None:
    relay = Relay("relay", world)
    world.wrote()
    world.clock.pass_(AGENT_PRESENT_SECONDS)
    assert relay.shown() == []
    world.wrote()
    world.clock.pass_(TICK_SECONDS)
    assert relay.shown() == ["agent-7"]
    assert len({state.client for state in world.states()}) == 2


def test_a_burst_of_writes_is_told_once_a_tick_with_the_latest(world: World) -> None:
    world.wrote()
    world.clock.pass_(0.0)
    world.clock.pass_(TICK_SECONDS)  # what the subscription had it repeat
    world.clock.pass_(TICK_SECONDS)
    world.states()
    for n in range(100):
        world.wrote(page=f"page:{n}")
    world.clock.pass_(TICK_SECONDS)
    assert [json.loads(state.json)["canvas"]["page"] for state in world.states()] == ["page:99"]


def test_a_closing_bridge_takes_its_agents_along(world: World) -> None:
    relay = Relay("relay", world)
    world.wrote("one")
    world.wrote("two")
    world.clock.pass_(1)
    world.bridge.close()
    assert relay.shown() == []
    assert world.listeners == {}
    world.clock.pass_(TICK_SECONDS)
    assert world.clock.waiting == 1  # the relay's own


def test_a_killed_bridges_agents_expire_while_the_next_ones_stay(world: World) -> None:
    relay = Relay("relay", world)
    world.wrote("old")
    world.clock.pass_(1)
    world.listeners.clear()
    world.clock = Clock()  # no timer of the dead one fires
    world.clock.seconds = 1001.0
    relay.call_later = world.clock.call_later
    relay.call_at = world.clock.call_at
    relay.presence._expire()
    world.bridge = world.start_bridge("next bridge")
    for _ in range(6):
        world.wrote("new")
        world.clock.pass_(15)
    assert relay.shown() == ["new"]


def test_two_bridges_show_an_agent_each_and_neither_takes_the_others_away(world: World) -> None:
    relay = Relay("relay", world)
    other = AgentPresence(
        "other", Roster(lambda _: next(world.ids)), World(), lambda _, message: world.publish(BOARD, message), Keys(),
        world,
    )  # fmt: skip
    world.wrote()
    other.wrote(BOARD, "agent-7", NOWHERE)
    world.clock.pass_(5)
    assert relay.shown() == ["agent-7"] * 2
    other.close()
    assert relay.shown() == ["agent-7"]
    world.clock.pass_(AGENT_PRESENT_SECONDS)
    assert relay.shown() == []


def test_its_own_question_and_garbage_are_not_answered(world: World) -> None:
    world.wrote()
    world.clock.pass_(1)
    world.states()
    listener = world.listeners[Keys().presence(BOARD)]
    for message in (b"", b"\xc1", pack("bridge", Kind.QUERY), pack("relay", Kind.STATES, b"\x00")):
        listener.received(message)
    world.clock.pass_(1)
    assert world.heard == []
    listener.received(pack("relay", Kind.QUERY))
    world.clock.pass_(1)
    assert len(world.states()) == 1


def test_an_agent_elsewhere_is_nobodys_business_here(world: World) -> None:
    relay = Relay("relay", world)
    world.wrote("here")
    world.wrote("elsewhere", board=OTHER)
    world.clock.pass_(1)
    assert relay.shown() == ["here"]
    assert world.listeners.keys() == {Keys().presence(BOARD), Keys().presence(OTHER)}
