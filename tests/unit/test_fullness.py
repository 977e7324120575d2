"""How full the logs are: where the limit lies, an alarm before it, and no flapping around it (G5)."""

import asyncio
from typing import cast

import pytest
from structlog.testing import capture_logs

from boardlog.errors import StorageUnavailable
from boardlog.fullness import LIMIT_BYTES_WITHOUT_MAX, Fullness, Level, limit_bytes, next_level
from boardlog.stream import Memory, Streams


@pytest.mark.parametrize(
    ("server_max", "setting", "limit"),
    [
        (1000, 0, 800),
        (0, 0, LIMIT_BYTES_WITHOUT_MAX),
        (0, 500, 500),
        (1000, 900, 900),
        (1000, 5000, 1000),  # Redis would refuse before: then it is full
    ],
)
def test_G5_the_limit_is_the_setting_or_a_share_of_what_the_server_takes(
    server_max: int, setting: int, limit: int
) -> None:
    assert limit_bytes(Memory(0, server_max), setting) == limit


def test_G5_each_level_is_left_later_than_it_is_entered() -> None:
    level = Level.CALM
    seen = []
    for percent in (10, 69, 70, 65, 60, 59, 69, 71, 99, 100, 95, 90, 89, 95, 100, 50):
        level = next_level(level, percent / 100)
        seen.append(level.name[0])
    assert "".join(seen) == "CCAAACCAAFFFAAFC"


def test_G5_an_operator_is_told_once_of_each_change_and_appends_are_held_back_between() -> None:
    held: list[bool] = []
    fullness = Fullness(cast(Streams, None), 0, held.append)
    with capture_logs() as logs:
        for used in (10, 560, 570, 600, 800, 790, 900, 750, 719, 700, 480, 10):
            fullness.saw(Memory(used, 1000))
    assert held == [True, False]
    assert [(line["event"], line["log_level"], line["used_bytes"]) for line in logs] == [
        ("log_filling", "warning", 560),
        ("log_full", "error", 800),
        ("log_has_room", "info", 719),
        ("log_calm", "info", 10),
    ]
    assert {line["limit_bytes"] for line in logs} == {800}


async def test_G5_what_was_seen_last_holds_while_redis_is_away() -> None:
    held: list[bool] = []
    seen_all = asyncio.Event()
    answers = [Memory(900, 1000), None, None, Memory(900, 1000), Memory(100, 1000)]

    class Answering:
        async def memory(self) -> Memory:
            if not answers:
                seen_all.set()
                await asyncio.Event().wait()
            answer = answers.pop(0)
            if answer is None:
                raise StorageUnavailable("Redis is away.")
            return answer

    fullness = Fullness(cast(Streams, Answering()), 0, held.append)
    with capture_logs() as logs:
        watching = asyncio.create_task(fullness.watch(jitter=lambda *_: 0.0))
        await seen_all.wait()
        watching.cancel()
    assert held == [True, False]
    assert [line["event"] for line in logs] == ["log_full", "log_memory_unknown", "log_has_room"]
    assert fullness.level is Level.CALM
