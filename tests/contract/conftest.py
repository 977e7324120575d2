"""The logs under test: in memory, on the embedded Valkey, and on the machine's Redis where there is one."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.stores import MACHINE_REDIS, Logs, redis_logs, twin_logs


@pytest.fixture(params=["twin", "valkey", "redis"])
async def logs(request: pytest.FixtureRequest, redis_key_prefix: str) -> AsyncIterator[Logs]:
    if request.param == "twin":
        async with twin_logs() as made:
            yield made
    else:
        url = request.getfixturevalue("redis_url") if request.param == "valkey" else MACHINE_REDIS
        async with redis_logs(url, redis_key_prefix) as made:
            yield made
