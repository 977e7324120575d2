"""Announces agents on the boards' presence channels, as relays announce people. Never in a write's way."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog

from boardlog.awareness import encode_all
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.presence_channel import Kind, pack, unpack
from boardlog.tail import Listener
from boardlog.wire import MalformedFrame
from bridge.agents import Place, Roster, awareness_state

log = structlog.get_logger()

TICK_SECONDS = 0.05
"""A burst of writes is told at most this often: the first at once, then whatever is the latest."""


class Channels(Protocol):
    """Where channels are listened to (tail.Tail)."""

    def listen(self, channel: str, listener: Listener) -> None:
        """Give a channel its listener."""

    def leave(self, channel: str, listener: Listener) -> None:
        """Take the listener off a channel."""


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None:
        """Do not call."""


class Time(Protocol):
    """An event loop's clock."""

    def time(self) -> float:
        """Return seconds on a steady clock."""

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call back once."""


class _Channel:
    """A board's presence channel, listened to while an agent is shown there (tail.Listener)."""

    def __init__(self, node: str, tell_again: Callable[[], None]) -> None:
        self._node = node
        self._tell_again = tell_again

    def subscribed(self) -> None:
        # A room that opened before this moment has asked already, and we did not hear it.
        self._tell_again()

    def received(self, message: bytes) -> None:
        try:
            sender, kind, _ = unpack(message)
        except MalformedFrame as error:
            log.warning("presence_unreadable", reason=str(error))
            return
        if kind is Kind.QUERY and sender != self._node:
            self._tell_again()


class AgentPresence:
    """Tells of the agents on a roster, and answers whoever asks for them."""

    def __init__(
        self,
        node: str,
        roster: Roster,
        channels: Channels,
        publish: Callable[[BoardId, bytes], None],
        keys: Keys,
        time: Time | None = None,
    ) -> None:
        """Speak as `node`, which is this process' own name; `publish` must not wait (publisher.Publisher)."""
        self._node = node
        self._roster = roster
        self._channels = channels
        self._publish = publish
        self._keys = keys
        self._time: Time = time or asyncio.get_running_loop()
        self._listeners: dict[BoardId, _Channel] = {}
        self._told_at = float("-inf")
        self._tick: Timer | None = None
        self._departure: Timer | None = None

    def wrote(self, board: BoardId, name: str, place: Place) -> None:
        """Show an agent where it has just written. Synchronous."""
        self._roster.wrote(board, name, awareness_state(name, place), self._time.time())
        self._tick_soon()

    def close(self) -> None:
        """Say that all agents are gone, and listen no more."""
        self._roster.leave_all()
        self._tell()

    def _tell_again(self, board: BoardId) -> None:
        self._roster.tell_again(board)
        self._tick_soon()

    def _tick_soon(self) -> None:
        if self._tick is None:
            wait = self._told_at + TICK_SECONDS - self._time.time()
            self._tick = self._time.call_later(max(0.0, wait), self._tell)

    def _tell(self) -> None:
        """Tell what has changed; listen where somebody is shown, and nowhere else."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._told_at = self._time.time()
        for board, states in self._roster.take_changes().items():
            for update in encode_all(states):
                self._publish(board, pack(self._node, Kind.STATES, update))
        boards = self._roster.boards()
        for board in boards - self._listeners.keys():
            self._listeners[board] = _Channel(self._node, partial(self._tell_again, board))
            self._channels.listen(self._keys.presence(board), self._listeners[board])
        for board in self._listeners.keys() - boards:
            self._channels.leave(self._keys.presence(board), self._listeners.pop(board))
        self._await_departure()

    def _await_departure(self) -> None:
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None
        until = self._roster.next_departure()
        if until is not None:
            self._departure = self._time.call_later(max(0.0, until - self._time.time()), self._expire)

    def _expire(self) -> None:
        self._roster.expire(self._time.time())
        self._tell()
