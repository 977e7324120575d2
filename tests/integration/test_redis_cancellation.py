"""Cancelling what waits for Redis: whoever cancels waits for its end, a node that leaves too (G10)."""

import asyncio
import random
from contextlib import suppress

from boardlog import redis as redis_module
from boardlog.due import RedisDue
from boardlog.ids import BoardId
from boardlog.keys import Keys
from boardlog.scripts import Scripts

CANCELLED = 400
TURNS_MAX = 40
"""A command takes about so many turns of the loop: the cancellation is to come at any point of it."""


async def test_G10_a_command_that_is_cancelled_ends_by_that(redis_url: str, redis_key_prefix: str) -> None:
    redis = redis_module.connect(redis_url)
    due = RedisDue(redis, Scripts(redis), Keys(redis_key_prefix))
    chance = random.Random(1)
    swallowed = cancelled = 0
    try:
        while cancelled < CANCELLED:
            task = asyncio.create_task(due.mark([BoardId("board")], 0))
            for _ in range(chance.randrange(1, TURNS_MAX)):
                await asyncio.sleep(0)
            if task.cancel():
                with suppress(asyncio.CancelledError):
                    await task
                cancelled += 1
                swallowed += not task.cancelled()
    finally:
        await redis.delete(Keys(redis_key_prefix).due)
        await redis.aclose()
    assert swallowed == 0
