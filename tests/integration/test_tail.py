"""The tail (L14): one subscription connection that never goes deaf, whatever is listened to and left, and when."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from boardlog import redis as redis_module
from boardlog.redis import Redis
from boardlog.tail import Tail


class Ear:
    """Notes what it hears; `open_count` counts the acknowledged subscriptions."""

    def __init__(self) -> None:
        self.open_count = 0
        self.messages: list[bytes] = []

    def subscribed(self) -> None:
        self.open_count += 1

    def received(self, message: bytes) -> None:
        self.messages.append(message)


@asynccontextmanager
async def running_tail(redis_url: str, linger_seconds: float = 0.0) -> AsyncIterator[tuple[Tail, Redis]]:
    redis = redis_module.connect(redis_url)
    tail = Tail(redis, linger_seconds)
    task = asyncio.create_task(tail.run())
    try:
        yield tail, redis
    finally:
        task.cancel()
        await asyncio.wait([task])
        await redis.aclose()


async def test_a_listener_hears_everything_after_subscribed(redis_url: str, redis_key_prefix: str) -> None:
    async with running_tail(redis_url) as (tail, redis):
        ear = Ear()
        tail.listen(f"{redis_key_prefix}a", ear)
        await until(lambda: ear.open_count == 1)
        for number in range(100):
            await redis.publish(f"{redis_key_prefix}a", str(number))
        await until(lambda: len(ear.messages) == 100)
        assert ear.messages == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("seed", range(5))
async def test_L14_a_channel_that_is_left_and_taken_again_is_never_deaf(
    redis_url: str, redis_key_prefix: str, seed: int
) -> None:
    rng = random.Random(seed)
    channels = [f"{redis_key_prefix}{number}" for number in range(5)]
    async with running_tail(redis_url, linger_seconds=rng.choice([0.0, 0.005])) as (tail, redis):
        ears: dict[str, Ear] = {}
        for _ in range(200):
            channel = rng.choice(channels)
            if channel in ears:
                tail.leave(channel, ears.pop(channel))
            else:
                ears[channel] = Ear()
                tail.listen(channel, ears[channel])
            if rng.random() < 0.3:
                await redis.publish(rng.choice(channels), "noise")
        for channel in channels:
            if channel not in ears:
                ears[channel] = Ear()
                tail.listen(channel, ears[channel])
        await until(lambda: all(ear.open_count for ear in ears.values()))
        for channel in channels:
            await redis.publish(channel, "last")
        await until(lambda: all(b"last" in ear.messages for ear in ears.values()))


async def test_after_a_broken_connection_every_listener_is_told_again(redis_url: str, redis_key_prefix: str) -> None:
    async with running_tail(redis_url) as (tail, redis):
        ears = [Ear() for _ in range(1200)]
        for number, ear in enumerate(ears):
            tail.listen(f"{redis_key_prefix}{number}", ear)
        await until(lambda: all(ear.open_count == 1 for ear in ears))
        await kill_subscribers(redis, redis_key_prefix)
        await until(lambda: all(ear.open_count == 2 for ear in ears))
        await redis.publish(f"{redis_key_prefix}7", "heard")
        await until(lambda: ears[7].messages == [b"heard"])


async def test_a_lingering_channel_is_open_at_once(redis_url: str, redis_key_prefix: str) -> None:
    async with running_tail(redis_url, linger_seconds=60) as (tail, redis):
        channel = f"{redis_key_prefix}a"
        first, second = Ear(), Ear()
        tail.listen(channel, first)
        await until(lambda: first.open_count == 1)
        tail.leave(channel, first)
        tail.leave(channel, first)
        await redis.publish(channel, "to nobody")
        tail.listen(channel, second)
        await until(lambda: second.open_count == 1)
        await redis.publish(channel, "to the second")
        await until(lambda: second.messages[-1:] == [b"to the second"])
        assert first.messages == []


async def test_a_channel_nobody_wants_is_given_up(redis_url: str, redis_key_prefix: str) -> None:
    async with running_tail(redis_url) as (tail, redis):
        channel = f"{redis_key_prefix}a"
        ear = Ear()
        tail.listen(channel, ear)
        await until(lambda: ear.open_count == 1)
        tail.leave(channel, ear)
        async with asyncio.timeout(10):
            while (await redis.pubsub_numsub(channel))[0][1]:
                await asyncio.sleep(0.01)


async def test_a_channel_has_one_listener(redis_url: str, redis_key_prefix: str) -> None:
    async with running_tail(redis_url) as (tail, _):
        tail.listen(f"{redis_key_prefix}a", Ear())
        with pytest.raises(ValueError, match="listener already"):
            tail.listen(f"{redis_key_prefix}a", Ear())


async def kill_subscribers(redis: Redis, prefix: str) -> None:
    """Break the connections that are subscribed to channels below this prefix, and no others."""
    for client in await redis.client_list(_type="pubsub"):
        if int(client["sub"]) > 0 and await redis.pubsub_channels(f"{prefix}*"):
            await redis.client_kill_filter(_id=client["id"])


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)
