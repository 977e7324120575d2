"""Moments that boards share."""

import asyncio

import pytest

from relay import ticks
from relay.presence import moment
from relay.ticks import Ticks


def test_moments_are_multiples_and_never_lie_before() -> None:
    at = 1000.0
    for _ in range(1000):
        at = moment(at + 0.05, 0.05)  # as a board goes on that has something to tell at each of them
    assert at == pytest.approx(1050.0)
    assert moment(1000.012, 0.05) == pytest.approx(1000.05)
    assert moment(1000.05, 0.05) == pytest.approx(1000.05)


async def test_boards_tell_at_the_same_moment_a_few_a_turn_and_others_get_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ticks, "BOARDS_PER_TURN", 2)
    loop = asyncio.get_running_loop()
    shared, told, turns = Ticks(), [], 0
    when = moment(loop.time() + 0.01, 0.005)
    for board in range(7):
        shared.at(when, lambda board=board: told.append((board, turns)))
    while len(told) < 7:
        await asyncio.sleep(0)
        turns += 1
    assert [board for board, _ in told] == [*range(7)]
    first = told[0][1]
    assert [turn - first for _, turn in told] == [0, 0, 1, 1, 2, 2, 3]


async def test_what_was_cancelled_is_not_done_and_what_fails_stops_nobody() -> None:
    loop = asyncio.get_running_loop()
    failures: list[str] = []
    loop.set_exception_handler(lambda _loop, context: failures.append(str(context["exception"])))
    shared, told = Ticks(), []

    def fail() -> None:
        raise ValueError("a board's own fault")

    when = moment(loop.time(), 0.005)
    shared.at(when, fail)
    shared.at(when, lambda: told.append("cancelled")).cancel()
    shared.at(when, lambda: told.append("told"))
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.001)
    assert told == ["told"]
    assert failures == ["a board's own fault"]
    shared.at(moment(loop.time(), 0.005), lambda: told.append("again"))
    async with asyncio.timeout(5):
        while len(told) < 2:
            await asyncio.sleep(0.001)
