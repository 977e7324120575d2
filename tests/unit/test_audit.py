"""Which boards an audit asks about (L4): those that nothing has proven for a while, and all of those in their turn."""

import math
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest

from boardlog.audit import AUDIT_SECONDS, STEPS, audit, next_turn
from boardlog.entry import EntryKind, Payload, pack
from boardlog.follow import Follow
from boardlog.ids import GENESIS, Cursor
from boardlog.log import random_tag
from boardlog.stream import Append, Appended
from tests.unit.test_follow_lost_entries import BOARD, World


class _Proven:
    def __init__(self, proven_at: float) -> None:
        self.proven_at = proven_at
        self.cursor = GENESIS


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
    assert next_turn([world.follow], before + AUDIT_SECONDS) == []
    assert next_turn([world.follow], world.follow.proven_at + AUDIT_SECONDS) == [world.follow]


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
    assert next_turn([empty], 100.0) == []
    before = world.follow.proven_at
    world.follow._in_stream = False
    world.follow.audited(cast(Cursor, world.follow.cursor), None)
    assert world.follow.proven_at > before


def test_L4_boards_come_in_turn_however_many_are_unproven_at_once() -> None:
    follows = cast(Sequence[Follow], [_Proven(float(number % 7)) for number in range(100)])
    now, asked = 100.0, 0
    for _ in range(STEPS):
        turn = next_turn(follows, now)
        assert len(turn) == 100 // STEPS
        for follow in turn:
            assert follow.proven_at == min(other.proven_at for other in follows)
            follow.proven_at = now
        asked += len(turn)
    assert asked == 100
    assert next_turn(follows, now) == []
