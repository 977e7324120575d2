"""The work queue of compaction (L9): the same cases against the twin, Valkey, a cluster and Redis."""

import asyncio

from boardlog.due import Claim
from boardlog.ids import GENESIS, BoardId
from boardlog.log import random_tag
from boardlog.stream import Append
from tests.contract.stores import Logs

A, B = BoardId("a"), BoardId("b")
LONG_MS = 60_000


async def claim_soon(logs: Logs, lease_ms: int = LONG_MS) -> Claim:
    """Claim as soon as something is due."""
    async with asyncio.timeout(10):
        while (claim := await logs.due.claim(lease_ms)) is None:
            if logs.pass_ms is not None:
                logs.pass_ms(1)
            else:
                await asyncio.sleep(0.001)
        return claim


async def test_a_board_is_due_when_its_time_has_come_and_the_first_one_first(logs: Logs) -> None:
    await logs.due.mark([A, B], LONG_MS)
    assert await logs.due.claim(LONG_MS) is None
    await logs.due.mark([B], 0)  # a mark moves it forward
    await logs.due.mark([A], 2)  # later than B however long it took to get here
    assert [(await claim_soon(logs)).board, (await claim_soon(logs)).board] == [B, A]


async def test_a_mark_never_moves_a_board_back(logs: Logs) -> None:
    await logs.due.mark([A], 0)
    await logs.due.mark([A], LONG_MS)
    assert (await claim_soon(logs)).board == A
    assert await logs.due.waiting() == 1


async def test_a_claimed_board_comes_back_when_its_lease_ends(logs: Logs) -> None:
    await logs.due.mark([A], 0)
    first = await claim_soon(logs, lease_ms=5)
    second = await claim_soon(logs)
    assert second.board == A
    assert second.token != first.token
    assert not await logs.due.release(first, None)  # no longer its own
    assert await logs.due.release(second, None)
    assert await logs.due.waiting() == 0


async def test_a_released_board_leaves_or_stays(logs: Logs) -> None:
    await logs.due.mark([A], 0)
    assert await logs.due.release(await claim_soon(logs), 0)
    assert await logs.due.release(await claim_soon(logs), None)
    assert await logs.due.claim(LONG_MS) is None
    assert await logs.due.waiting() == 0


async def test_a_claim_is_released_once(logs: Logs) -> None:
    await logs.due.mark([A], 0)
    claim = await claim_soon(logs)
    assert await logs.due.release(claim, None)
    assert not await logs.due.release(claim, 0)
    assert await logs.due.waiting() == 0


async def test_workers_that_claim_at_once_get_different_boards(logs: Logs) -> None:
    boards = [BoardId(f"board-{number}") for number in range(20)]
    await logs.due.mark(boards, 0)
    claims = [await claim_soon(logs), *await asyncio.gather(*(logs.due.claim(LONG_MS) for _ in range(19)))]
    assert {claim.board for claim in claims if claim} == set(boards)


async def test_an_append_marks_its_board(logs: Logs) -> None:
    await logs.streams.birth(A, GENESIS, random_tag())
    await logs.streams.append_many([Append(A, random_tag(), b"payload")])
    async with asyncio.timeout(10):
        while await logs.due.waiting() == 0:  # in a cluster the mark comes later than the append's answer
            await asyncio.sleep(0.001)
    assert await logs.due.waiting() == 1
    assert await logs.due.claim(LONG_MS) is None  # in 30 s
