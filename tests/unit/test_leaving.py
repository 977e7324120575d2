"""Work that ends when its process leaves, connections that have to ask for something, and how old a socket becomes."""

import asyncio
from random import Random
from typing import Any, cast

import pytest
from aiohttp import web

from boardlog.arrivals import Arrivals
from boardlog.leaving import Leaving, Left
from relay import drain
from relay.connection import age_limit_seconds


async def test_G10_work_is_told_to_end_and_what_comes_later_too() -> None:
    leaving = Leaving()

    async def wait() -> None:
        async with leaving.work():
            await asyncio.Event().wait()

    working = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    leaving.end(0.0, spread_seconds=0.05)
    late = asyncio.create_task(wait())
    async with asyncio.timeout(10):
        results = await asyncio.gather(*working, late, return_exceptions=True)
        await leaving.ended()
    assert [type(result) for result in results] == [Left] * 4


async def test_work_that_is_done_in_time_hears_nothing_and_its_own_timeout_stays_its_own() -> None:
    leaving = Leaving()
    async with leaving.work():
        leaving.end(60.0)
    with pytest.raises(TimeoutError):
        async with leaving.work():
            raise TimeoutError
    async with asyncio.timeout(10):
        await leaving.ended()


async def test_G7_a_connection_that_asks_for_nothing_is_cut_and_one_that_did_may_be_idle() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    arrivals = Arrivals(seconds_max=0.3)
    app = web.Application(middlewares=[arrivals.middleware])
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(arrivals.watched(runner), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        silent, half, asked = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        half[1].write(b"GET / HTTP/1.1\r\nHost: re")
        asked[1].write(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await silent[0].read(), await half[0].read()) == (b"", b"")
            assert await asked[0].readuntil(b"here")
            asked[1].write(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
            assert await asked[0].readuntil(b"here")
        for _, writer in (silent, half, asked):
            writer.close()
    finally:
        server.close()
        await runner.cleanup()


def test_G10_a_mass_join_does_not_become_a_mass_leave() -> None:
    limits = sorted(age_limit_seconds(3000, Random(1).uniform) for _ in range(3))
    assert len(set(limits)) == 1, "drawn from what is passed in"
    random = Random(1)
    minutes = [age_limit_seconds(3000, random.uniform) / 60 for _ in range(10_000)]
    assert 45 <= min(minutes) < 45.1
    assert 54.9 < max(minutes) <= 55
    at_once = max(sum(one <= minute < one + 1 / 6 for minute in minutes) for one in (45, 47, 50, 52, 54.8))
    assert at_once < 300, "of 10,000 within 10 s"


class Node:
    """What has to end when a node leaves, and does not by itself (as doors, a connection, forward, hub, appender)."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.connections = {self: None}
        self.waiting_bytes = 0
        self._never = asyncio.Event()

    def leave(self, seconds: float) -> None:
        self.happened.append("leave")

    async def left(self) -> None:
        await self._never.wait()

    async def closed(self) -> None:
        await self._never.wait()

    def close(self, *_: object) -> "asyncio.Future[None]":
        self.happened.append("close")
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def cut(self) -> None:
        self.happened.append("cut")

    async def flushed(self) -> None:
        self.happened.append("flushed")
        await self._never.wait()


async def test_G10_a_drain_ends_whoever_does_not_and_flushes_what_closing_rooms_hand_in(monkeypatch) -> None:
    monkeypatch.setattr(drain, "FAREWELL_SECONDS_MAX", 0.05)
    monkeypatch.setattr(drain, "FLUSH_SECONDS_MAX", 0.05)
    doors, forward, hub, rooms = Node(), Node(), Node(), Node()
    hub.happened = rooms.happened  # in which order?
    leavers = drain.Leavers(*(cast(Any, part) for part in (doors, forward, hub, rooms, rooms.flushed)))
    async with asyncio.timeout(10):
        await drain.drain(leavers, 0.05)
    assert doors.happened == ["leave", "close", "cut"]
    assert forward.happened == ["leave"]
    assert rooms.happened == ["close", "flushed"]
