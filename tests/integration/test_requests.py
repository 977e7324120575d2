"""Batches on one connection (L10): each gets its own replies, and one of unknown outcome is told so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import NoScriptError, ResponseError

from boardlog import redis as redis_module
from boardlog.errors import StorageUnavailable
from boardlog.redis import Redis, Traffic, request
from boardlog.requests import Call, Requests


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Redis]:
    redis = redis_module.connect(url)
    try:
        yield redis
    finally:
        await redis.aclose()


def echo(*texts: str) -> list[Call]:
    return [("ECHO", text) for text in texts]


async def send(redis: Redis, calls: Sequence[Call]) -> list[object]:
    return await request(redis, calls, Traffic.APPENDS)  # type: ignore[arg-type]


async def test_each_batch_gets_its_own_replies_however_many_are_on_their_way(redis_url: str) -> None:
    async with connected(redis_url) as redis:
        batches = [[f"{batch}-{number}-{'x' * batch * 100}" for number in range(batch % 7 + 1)] for batch in range(300)]
        replies = await asyncio.gather(*(send(redis, echo(*batch)) for batch in batches))
        assert replies == [[text.encode() for text in batch] for batch in batches]


async def test_a_refusal_is_the_reply_of_its_own_call_only(redis_url: str) -> None:
    async with connected(redis_url) as redis:
        first, unknown, wrong, last = await send(
            redis, [*echo("first"), ("EVALSHA", "0" * 40, "0"), ("NOSUCHCOMMAND",), *echo("last")]
        )
        assert (first, last) == (b"first", b"last")
        assert isinstance(unknown, NoScriptError)
        assert isinstance(wrong, ResponseError)


async def test_who_gives_up_waiting_takes_nobody_elses_reply(redis_url: str) -> None:
    async with connected(redis_url) as redis:
        await send(redis, echo("connected"))
        waiting = [asyncio.create_task(send(redis, echo(str(number)))) for number in range(100)]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            task.cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert answers[1::2] == [[str(number).encode()] for number in range(1, 100, 2)]
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])


async def test_L10_a_lost_connection_leaves_all_that_is_on_its_way_in_doubt_and_the_next_batch_connects(
    redis_url: str,
) -> None:
    async with connected(redis_url) as redis:
        (own,) = await send(redis, [("CLIENT", "ID")])
        blocked = [asyncio.create_task(send(redis, [("BLPOP", "no such list", "0")])) for _ in range(3)]
        await asyncio.sleep(0)
        await redis.client_kill_filter(_id=str(own))
        answers = await asyncio.gather(*blocked, return_exceptions=True)
        assert all(isinstance(answer, StorageUnavailable) for answer in answers)
        assert await send(redis, echo("again")) == [b"again"]


async def test_who_waits_for_the_same_connection_is_not_cancelled_with_another(redis_url: str) -> None:
    async with connected(redis_url) as redis:
        first, second = (asyncio.create_task(send(redis, echo(text))) for text in ("first", "second"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == [b"second"]
        assert first.cancelled()


async def test_a_server_that_was_left_still_answers_what_it_was_sent(redis_url: str) -> None:
    async with connected(redis_url) as redis:
        (before,) = await send(redis, [("CLIENT", "ID")])
        waiting = asyncio.create_task(send(redis, echo("on its way")))
        await asyncio.sleep(0)
        await redis.connection_pool.disconnect(inuse_connections=False)  # type: ignore[union-attr]
        (after,) = await send(redis, [("CLIENT", "ID")])
        assert await waiting == [b"on its way"]
        assert after != before
        assert before not in {int(one["id"]) for one in await redis.client_list()}


async def test_L10_a_server_that_is_silent_is_given_up_and_one_that_answers_is_not(redis_url: str) -> None:
    redis = redis_module.connect(redis_url)

    async def connect() -> object:
        return await redis_module.subscriber(redis)

    requests = Requests(connect, timeout_seconds=1.0)  # type: ignore[arg-type]
    try:
        slow = ("BLPOP", "no such list", "0.6")
        answers = await asyncio.gather(*(requests.send([slow]) for _ in range(3)))  # far longer in all
        assert answers == [[None]] * 3
        with pytest.raises(StorageUnavailable, match="in time"):
            await requests.send([("BLPOP", "no such list", "0")])
        assert await requests.send(echo("again")) == [b"again"]
    finally:
        requests.close()
        await redis.aclose()


async def test_closing_ends_what_waits(redis_url: str) -> None:
    redis = redis_module.connect(redis_url)
    await send(redis, echo("connected"))
    blocked = asyncio.create_task(send(redis, [("BLPOP", "no such list", "0")]))
    await asyncio.sleep(0)
    await redis.aclose()
    with pytest.raises(StorageUnavailable):
        await blocked


async def test_closing_ends_what_waits_for_a_connection() -> None:
    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
    async with server:
        redis = redis_module.connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        waiting = [asyncio.create_task(send(redis, echo("hello"))) for _ in range(2)]
        await asyncio.sleep(0.01)
        await redis.aclose()
        for one in waiting:
            with pytest.raises(StorageUnavailable):
                await one


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n"])
async def test_a_server_that_hangs_up_or_speaks_something_else_is_storage_unavailable(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):  # the library tells its name and version
            await reader.readuntil(b"SETINFO")
            writer.write(b"+OK\r\n")
        await reader.readuntil(b"hello")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, connected(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as redis:
        with pytest.raises(StorageUnavailable):
            await send(redis, echo("hello"))


async def test_a_batch_for_a_connection_that_has_just_ended_is_an_outage_and_not_a_fault(redis_url: str) -> None:
    """Its transport refuses with an error of its own, which would end the process."""
    async with connected(redis_url) as redis:
        await send(redis, echo("first"))
        exchange = redis.connection_pool.requests(Traffic.APPENDS)._exchange  # type: ignore[union-attr]
        exchange._line._transport.abort()
        with pytest.raises(StorageUnavailable):
            await send(redis, echo("second"))
        while not exchange.is_over:
            await asyncio.sleep(0)
        assert await send(redis, echo("third")) == [b"third"]
