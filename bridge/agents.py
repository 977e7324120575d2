"""Which agents are on which board just now, and what people see of them (pure)."""

import json
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from boardlog.awareness import GONE, STATE_BYTES_MAX, State
from boardlog.ids import BoardId
from bridge.geometry import Point, page_key, page_point
from bridge.shapes import Records, find_shape, shape_key

AGENT_PRESENT_SECONDS = 30.0
"""An agent is shown for this long after its last write: stock clients keep a state no longer that nobody renews."""
AGENTS_PER_BOARD_MAX = 50
AGENTS_MAX = 1000
"""On all boards of this process. Beyond a bound, whoever wrote the longest ago leaves first."""
NAME_CHARS_MAX = 64
"""Longer names are cut: it is what a cursor's label can show."""
NAMELESS = "Agent"
CLIENT_BITS = 32

# Strong enough for white letters on them.
_COLORS = ("#ae3ec9", "#4465e9", "#1c7ed6", "#0c8599", "#099268", "#2b8a3e", "#a86b00", "#d9480f", "#e03131", "#c2255c")


class Place(NamedTuple):
    """Where an agent is: at the item that it has just written."""

    page: str | None
    point: Point | None
    """In page coordinates."""
    shape: str | None
    """The record key of the item; None once it is deleted."""


NOWHERE = Place(None, None, None)


def place_of(records: Records, item_id: str) -> Place:
    """Return where an item stands; NOWHERE if nothing readable is there."""
    shape = find_shape(records, shape_key(item_id))
    if shape is None:
        return NOWHERE
    return Place(page_key(records, shape), page_point(records, shape), shape["id"])


def name_of(*names: str | None) -> str:
    """Return the first of these that is one, as it is shown."""
    return next((name.strip()[:NAME_CHARS_MAX] for name in names if name and name.strip()), NAMELESS)


def awareness_state(name: str, place: Place) -> bytes:
    """Return what people see of an agent, as the JSON of its awareness state. The same name has the same colour."""
    state = {
        "user": {"name": name, "color": _COLORS[crc32(name.encode()) % len(_COLORS)], "type": "agent"},
        "cursor": None if place.point is None else {"x": place.point.x, "y": place.point.y},
        "selection": [] if place.shape is None else [place.shape],
        "canvas": {} if place.page is None else {"page": place.page},
    }
    encoded = json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode()
    # Only a hostile board has keys as long as that.
    return encoded if len(encoded) <= STATE_BYTES_MAX else awareness_state(name, NOWHERE)


class _Agent:
    """One that is shown. Its client id is fresh at every appearance: no earlier clock can stand against it."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.clock = 0
        self.json = GONE
        self.until = 0.0

    def says(self, state: bytes) -> None:
        self.clock += 1
        self.json = state

    @property
    def state(self) -> State:
        return State(self.client, self.clock, self.json)


class Roster:
    """The agents shown on all boards, and what is still to be told of them."""

    def __init__(self, random_bits: Callable[[int], int], present_seconds: float = AGENT_PRESENT_SECONDS) -> None:
        """Begin with nobody."""
        self._random_bits = random_bits
        self._present_seconds = present_seconds
        self._agents: OrderedDict[tuple[BoardId, str], _Agent] = OrderedDict()
        """The one that wrote last at the end."""
        self._changes: dict[BoardId, dict[int, State]] = {}

    def wrote(self, board: BoardId, name: str, state: bytes, now: float) -> None:
        """Show an agent that has just written."""
        agent = self._agents.pop((board, name), None)
        if agent is None:
            self._make_way(board)
            agent = _Agent(self._random_bits(CLIENT_BITS))
        self._agents[board, name] = agent
        agent.until = now + self._present_seconds
        agent.says(state)
        self._note(board, agent)

    def expire(self, now: float) -> None:
        """Let go whose time is up."""
        while self._agents and (until := self.next_departure()) is not None and until <= now:
            self._leave(next(iter(self._agents)))

    def leave_all(self) -> None:
        """Let everyone go."""
        for key in list(self._agents):
            self._leave(key)

    def tell_again(self, board: BoardId) -> None:
        """Note that somebody may not have heard of a board's agents."""
        for agent in self._on(board).values():
            self._note(board, agent)

    def next_departure(self) -> float | None:
        """Return when the next agent's time is up, if it does not write again."""
        return next((agent.until for agent in self._agents.values()), None)

    def take_changes(self) -> dict[BoardId, list[State]]:
        """Return what is to be told, and forget it."""
        changes, self._changes = self._changes, {}
        return {board: list(states.values()) for board, states in changes.items()}

    def boards(self) -> set[BoardId]:
        """Return the boards on which somebody is shown."""
        return {board for board, _ in self._agents}

    def _make_way(self, board: BoardId) -> None:
        on_board = self._on(board)
        if len(on_board) >= AGENTS_PER_BOARD_MAX:
            self._leave(next(iter(on_board)))
        elif len(self._agents) >= AGENTS_MAX:
            self._leave(next(iter(self._agents)))

    def _on(self, board: BoardId) -> dict[tuple[BoardId, str], _Agent]:
        return {key: agent for key, agent in self._agents.items() if key[0] == board}

    def _leave(self, key: tuple[BoardId, str]) -> None:
        agent = self._agents.pop(key)
        agent.says(GONE)
        self._note(key[0], agent)

    def _note(self, board: BoardId, agent: _Agent) -> None:
        self._changes.setdefault(board, {})[agent.client] = agent.state
