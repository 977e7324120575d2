"""Retrying: loops that run at the same time have nothing to do with one another."""

import asyncio

from boardlog.errors import StorageUnavailable
from boardlog.retry import retrying, retrying_forever


async def test_G2_loops_that_retry_at_once_each_end_when_their_own_work_is_done() -> None:
    """Two boards are repaired at once while Redis is away: the success of one must not end the other's attempts."""
    done: dict[str, int] = {}

    async def work(name: str, failures: int) -> None:
        left = failures
        for_ever = retrying_forever(StorageUnavailable, wait_seconds_max=0.01)
        async for attempt in for_ever if failures else retrying():
            with attempt:
                await asyncio.sleep(0.002 * (1 + failures % 3))
                if left:
                    left -= 1
                    raise StorageUnavailable("It is away.")
                done[name] = done.get(name, 0) + 1

    await asyncio.gather(work("first", 5), work("second", 2), work("third", 0), work("fourth", 3))
    assert done == {"first": 1, "second": 1, "third": 1, "fourth": 1}
