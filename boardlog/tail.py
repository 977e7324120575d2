"""One subscription connection for all channels of a process. It owns nothing but who listens to what.

L14: a channel has one listener; the acknowledgements of SUBSCRIBE and UNSUBSCRIBE are counted, so that a late one is
never taken for the newest; and a channel that nobody wants lingers before it is given up, so that a room which reopens
finds it open. After every (re)subscription the listener hears `subscribed`: what came before it may be missing.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import structlog
from redis.exceptions import RedisError

from boardlog.errors import StorageUnavailable
from boardlog.line import Line
from boardlog.redis import Redis, has_sentinel, is_replaced, subscriber, unavailable
from boardlog.retry import retrying_forever

log = structlog.get_logger()

LINGER_SECONDS = 5.0
CHANNELS_PER_COMMAND_MAX = 500
SILENCE_SECONDS_MAX = 15.0
"""A connection that answers no PING for this long is given up and made anew: a cut cable sends no reset."""
PING_SECONDS = 5.0
MASTER_CHECK_SECONDS = 1.0
"""How often Sentinel is asked whether the connection still leads to the master."""
RECONNECT_PAUSE_SECONDS = 0.05
RECONNECT_WAIT_SECONDS_MAX = 2.0


class Listener(Protocol):
    """Who follows a channel. Both calls are synchronous and must not raise."""

    def subscribed(self) -> None:
        """Handle that messages arrive from now on; any number of earlier ones may have been missed."""

    def received(self, message: bytes) -> None:
        """Handle a message of the channel."""


@dataclass(slots=True)
class _Channel:
    """What is wanted of a channel, and what the server was last asked for."""

    listener: Listener | None
    asked: bool = False
    """Whether the last command sent for it on this connection was SUBSCRIBE."""
    unanswered: int = 0
    """Commands sent for it on this connection whose acknowledgement has not come."""

    @property
    def is_open(self) -> bool:
        return self.asked and self.unanswered == 0


class Tail:
    """Subscribes, resubscribes and hands out messages."""

    def __init__(self, redis: Redis, linger_seconds: float = LINGER_SECONDS) -> None:
        """Connect as `redis` does, once `run` is started."""
        self._redis = redis
        self._linger_seconds = linger_seconds
        self._channels: dict[bytes, _Channel] = {}
        self._dirty: dict[bytes, None] = {}
        """What may differ from what the server was last asked for; it is asked in the next turn of the loop."""
        self._line: Line | None = None
        self._clock: Callable[[], float] = lambda: 0.0
        self._heard_at = 0.0
        self.connected = False

    def listen(self, channel: str, listener: Listener) -> None:
        """Give a channel its listener. Synchronous; `subscribed` follows, at the earliest in the next turn."""
        name = channel.encode()
        known = self._channels.get(name)
        if known is None:
            self._channels[name] = _Channel(listener)
            self._touch(name)
            return
        if known.listener is not None:
            raise ValueError(f"Channel {channel} has a listener already.")
        known.listener = listener
        if known.is_open:
            asyncio.get_running_loop().call_soon(self._acknowledged, name, listener)
        else:
            self._touch(name)

    def leave(self, channel: str, listener: Listener) -> None:
        """Take the listener off a channel; the channel itself lingers. Leaving twice is harmless."""
        name = channel.encode()
        known = self._channels.get(name)
        if known is not None and known.listener is listener:
            known.listener = None
            asyncio.get_running_loop().call_later(self._linger_seconds, self._touch, name)

    async def run(self) -> None:
        """Keep the subscriptions until cancelled, reconnecting for as long as it takes."""
        self._clock = asyncio.get_running_loop().time
        while True:
            lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
            line = await self._connect(lost)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._watch(line))
                    if has_sentinel(self._redis):
                        tasks.create_task(self._watch_master(line))
                    raise await lost
            except* (RedisError, OSError) as errors:
                log.warning("tail_disconnected", reason=str(errors.exceptions[0]))
            finally:
                self.connected = False
                self._line = None
                line.close()
            await asyncio.sleep(RECONNECT_PAUSE_SECONDS)  # a server that accepts and hangs up must not spin us

    async def _connect(self, lost: asyncio.Future[Exception]) -> Line:
        """Connect, trying with jitter until it works, and ask for every channel anew."""
        again = retrying_forever(StorageUnavailable, wait_seconds_max=RECONNECT_WAIT_SECONDS_MAX)
        line: Line = await again(self._subscribe, lost)
        self._line = line
        self.connected = True
        self._heard_at = self._clock()
        self._channels = {name: channel for name, channel in self._channels.items() if channel.listener is not None}
        for name, channel in self._channels.items():
            channel.asked, channel.unanswered = False, 0
            self._touch(name)
        log.info("tail_connected", channels=len(self._channels))
        return line

    async def _subscribe(self, lost: asyncio.Future[Exception]) -> Line:
        def note(error: Exception) -> None:
            if not lost.done():  # it is, if we are being cancelled
                lost.set_result(error)

        line = Line(await subscriber(self._redis), self._received, note)
        with unavailable():
            await line.take_over()
        return line

    def _touch(self, name: bytes) -> None:
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._ask)
        self._dirty[name] = None

    def _ask(self) -> None:
        """Send what is wanted and not yet asked for, many channels to a command."""
        dirty, self._dirty = self._dirty, {}
        if self._line is None:
            return  # all of it is asked for once there is a connection
        with suppress(RedisError):  # that connection is being lost, and the next one is asked for all of it
            for command, names in self._changes(dirty):
                self._line.send((command, *some) for some in _chunks(names, CHANNELS_PER_COMMAND_MAX))

    def _changes(self, dirty: Iterable[bytes]) -> list[tuple[str, list[bytes]]]:
        """Note and return the commands that bring the server to what is wanted now."""
        subscribe: list[bytes] = []
        unsubscribe: list[bytes] = []
        for name in dirty:
            channel = self._channels.get(name)
            if channel is None or channel.asked == (channel.listener is not None):
                continue
            channel.asked = not channel.asked
            channel.unanswered += 1
            (subscribe if channel.asked else unsubscribe).append(name)
        return [("SUBSCRIBE", subscribe), ("UNSUBSCRIBE", unsubscribe)]

    def _received(self, replies: list[Any]) -> None:
        self._heard_at = self._clock()
        for reply in replies:
            if isinstance(reply, list) and len(reply) == 3:
                self._handle(*reply)

    def _handle(self, kind: bytes, name: bytes, data: bytes) -> None:
        channel = self._channels.get(name)
        if channel is None:
            return
        if kind == b"message":
            if channel.listener is not None:
                channel.listener.received(data)
            return
        channel.unanswered -= 1
        if channel.unanswered:
            return  # a later command for this channel is under way: its answer decides
        if channel.listener is not None and channel.asked:
            channel.listener.subscribed()
        elif channel.listener is None and not channel.asked:
            del self._channels[name]

    def _acknowledged(self, name: bytes, listener: Listener) -> None:
        channel = self._channels.get(name)
        if channel is not None and channel.listener is listener and channel.is_open:
            listener.subscribed()

    async def _watch(self, line: Line) -> None:
        """Ping, and break a connection that has fallen silent."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            if self._clock() - self._heard_at > SILENCE_SECONDS_MAX:
                raise ConnectionError("Redis has not answered for too long.")
            line.send([("PING",)])

    async def _watch_master(self, line: Line) -> None:
        """Break a connection to a master that was replaced: it may live on, and hear nothing any more."""
        while True:
            await asyncio.sleep(MASTER_CHECK_SECONDS)
            if await is_replaced(self._redis, line.connection):
                raise ConnectionError("Sentinel names another master.")


def _chunks(names: list[bytes], size: int) -> Iterator[list[bytes]]:
    rest = iter(names)
    while some := list(islice(rest, size)):
        yield some
