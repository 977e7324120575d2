"""The logs under test: in memory, on an embedded Valkey, on a cluster, on the machine's Redis where there is one."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.stores import MACHINE_REDIS, Logs, redis_logs, twin_logs


@pytest.fixture(params=["twin", "valkey", "cluster", "redis"])
async def logs(request: pytest.FixtureRequest, redis_key_prefix: str) -> AsyncIterator[Logs]:
    if request.param == "twin":
        async with twin_logs() as made:
            yield made
    else:
        fixtures = {"valkey": "redis_url", "cluster": "cluster_url"}
        own = fixtures.get(request.param)
        async with redis_logs(request.getfixturevalue(own) if own else MACHINE_REDIS, redis_key_prefix) as made:
            yield made
