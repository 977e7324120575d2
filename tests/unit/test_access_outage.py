"""Keys while Redis is away: what a join must not wait for."""

from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from boardlog.access import Access
from boardlog.grant import Role
from boardlog.ids import BoardId
from boardlog.keys import Keys


class HangingRedis:
    def __init__(self) -> None:
        self.waited_for: list[str] = []

    async def get(self, name: str) -> bytes:
        self.waited_for.append("get")
        raise RedisTimeoutError("no answer")

    async def set(self, name: str, value: str, ex: int) -> None:
        self.waited_for.append("set")
        raise RedisTimeoutError("no answer")


class OneKey:
    async def fetchrow(self, *_: Any) -> tuple[Any, ...]:
        return ("board", "editor", "label", True)


async def test_G5_a_redis_that_hangs_is_waited_for_once_per_key() -> None:
    """Each command waits 5 s for its answer, and a joiner waits for all of them."""
    redis = HangingRedis()
    access = Access(OneKey(), redis, Keys())  # type: ignore[arg-type]
    grant = await access.grant("dc_key", BoardId("board"))
    assert grant.role is Role.EDITOR
    assert redis.waited_for == ["get"]
