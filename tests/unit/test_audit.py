"""Which boards an audit asks about (L4): those that nothing has proven for a while, and all of those in their turn."""

import math
from collections.abc import AsyncIterator, Collection, Sequence
from typing import cast

import pytest

from boardlog import audit as audit_module
from boardlog.audit import AUDIT_SECONDS, FAILURES_MAX, LOOK_SECONDS, STEPS, audit, audit_forever, unproven
from boardlog.entry import EntryKind, Payload, pack
from boardlog.errors import StorageUnavailable
from boardlog.follow import Follow
from boardlog.ids import GENESIS, Cursor
from boardlog.log import random_tag
from boardlog.stream import Append, Appended, Streams
from tests.unit.test_follow_lost_entries import BOARD, World


class _Proven:
    def __init__(self, proven_at: float) -> None:
        self.proven_at = proven_at
        self.cursor = GENESIS
        self.board = BOARD

    def audited(self, _asked: Cursor, _found: Cursor | None) -> None:
        """Take an answer that proves nothing."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.log.snapshots.create(BOARD)
    await made.log.birth(BOARD)
    made.follow.start()
    made.follow.subscribed()
    await made.follow.catch_up()
    yield made
    made.follow.stop()


async def append(world: World) -> None:
    payload = pack(Payload(EntryKind.UPDATES, (b"update",)))
    (outcome,) = await world.streams.append_many([Append(BOARD, random_tag(), payload)])
    assert isinstance(outcome, Appended)


async def test_L4_a_board_whose_publishes_link_is_not_asked_about_until_they_stop(world: World) -> None:
    before = world.follow.proven_at
    await append(world)
    assert world.follow.proven_at > before
    proven_at = world.follow.proven_at
    assert unproven([world.follow], proven_at + AUDIT_SECONDS - LOOK_SECONDS) == []
    assert unproven([world.follow], proven_at + AUDIT_SECONDS) == [world.follow]


async def test_L4_a_publish_that_did_not_come_proves_nothing(world: World) -> None:
    await append(world)
    before = world.follow.proven_at
    world.wire.held = []
    await append(world)
    assert world.follow.proven_at == before


async def test_L4_an_answer_proves_a_cursor_only_if_nothing_is_awaited_or_behind_it(world: World) -> None:
    before = world.follow.proven_at
    await audit([world.follow], world.streams)
    assert (proven := world.follow.proven_at) > before
    cursor = cast(Cursor, world.follow.cursor)
    for found in (None, cursor._replace(tag=random_tag())):
        world.follow.audited(cursor, found)
        assert world.follow.proven_at == proven
        await world.follow.catch_up()


async def test_L4_a_board_without_a_log_keeps_no_other_from_its_turn(world: World) -> None:
    """Nobody has drawn on it yet, or Redis has lost everything: nothing is to be proven, nothing wrong with it."""
    empty = cast(Follow, _Proven(-math.inf))
    empty.cursor = None  # not loaded yet
    assert unproven([empty], 100.0) == []
    before = world.follow.proven_at
    world.follow._in_stream = False
    world.follow.audited(cast(Cursor, world.follow.cursor), None)
    assert world.follow.proven_at > before


async def test_L4_every_board_is_asked_about_once_in_a_while_and_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are quiet: with time that only the audit's own pauses move on."""
    now, asked = 1000.0, []
    follows = [_Proven(now) for _ in range(100)]

    async def pause(seconds: float) -> None:
        nonlocal now
        now += seconds * 1.01  # timers are late
        if now > 1000.0 + 3.5 * AUDIT_SECONDS:
            raise TimeoutError

    async def ask(some: Sequence[Follow], _streams: Streams) -> bool:
        asked.append(len(some))
        for follow in some:
            follow.proven_at = now
        return True

    monkeypatch.setattr(audit_module.asyncio, "sleep", pause)
    monkeypatch.setattr(audit_module, "unproven", lambda some, _now: unproven(some, now))
    monkeypatch.setattr(audit_module, "audit", ask)
    with pytest.raises(TimeoutError):
        await audit_forever(lambda: cast(Sequence[Follow], follows), cast(Streams, None))
    assert sum(asked) == 300
    assert max(asked) == 100 // STEPS
    assert all(now - follow.proven_at < AUDIT_SECONDS for follow in follows)


@pytest.mark.parametrize(("failing", "asked"), [(range(1000), 3 * FAILURES_MAX), ([1], 3 * 20)])
async def test_a_redis_that_is_away_is_asked_little_and_one_damaged_board_keeps_no_other_from_its_turn(
    monkeypatch: pytest.MonkeyPatch, failing: Collection[int], asked: int
) -> None:
    """It may be about to recover; and what is looked at would be kept for as long as each question waits."""
    pauses = 0

    async def pause(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > 3:
            raise TimeoutError

    class Away:
        asked = 0

        async def audit(self, positions: Sequence[object]) -> list[Cursor | None]:
            self.asked += 1
            if self.asked in failing:
                raise StorageUnavailable("It is away.")
            return [None] * len(positions)

    away = Away()
    monkeypatch.setattr(audit_module.asyncio, "sleep", pause)
    follows = [_Proven(-math.inf) for _ in range(10_000)]
    with pytest.raises(TimeoutError):
        await audit_forever(lambda: cast(Sequence[Follow], follows), cast(Streams, away))
    assert away.asked == asked
