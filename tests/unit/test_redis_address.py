"""REDIS_URL's forms: one server, the master that Sentinels name, a cluster."""

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool, SentinelManagedSSLConnection

from boardlog import redis as redis_module
from boardlog.errors import InvalidSetting


def test_L10_no_client_repeats_a_command_by_itself() -> None:
    for url in ("redis://a", "redis+sentinel://a/boards", "redis+cluster://a"):
        client = redis_module.connect(url)
        retry = client.retry if isinstance(client, RedisCluster) else client.get_retry()
        assert retry is not None
        assert retry.get_retries() == 0


def test_sentinels_are_given_with_the_masters_name_and_a_password_each() -> None:
    client = redis_module.connect("redis+sentinel://me:p%2Fw@one:1,two/boards/3?sentinel_password=their%20own")
    assert isinstance(client, Redis)
    pool = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    given = pool.connection_kwargs
    assert (pool.service_name, given["username"], given["password"], given["db"]) == ("boards", "me", "p/w", 3)
    sentinels = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"], one["password"]) for one in sentinels] == [
        ("one", 1, "their own"),
        ("two", 26379, "their own"),
    ]


def test_a_cluster_is_given_by_some_of_its_nodes() -> None:
    client = redis_module.connect("redis+cluster://:secret@one:1,two,[::1]:3")
    assert isinstance(client, RedisCluster)
    assert [(node.host, node.port) for node in client.startup_nodes] == [("one", 1), ("two", 6379), ("::1", 3)]
    assert client.connection_kwargs["password"] == "secret"


def test_rediss_is_tls_to_all_of_them() -> None:
    master = redis_module.connect("rediss+sentinel://one/boards?ssl_ca_certs=/ca.pem")
    assert isinstance(master, Redis)
    pool = master.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    assert issubclass(pool.connection_class, SentinelManagedSSLConnection)
    (sentinel,) = (one.connection_pool for one in pool.sentinel_manager.sentinels)
    for given in (pool.connection_kwargs, sentinel.connection_kwargs):
        assert given["ssl_ca_certs"] == "/ca.pem"
    assert sentinel.connection_class.__name__ == "SSLConnection"
    cluster = redis_module.connect("rediss+cluster://one")
    assert isinstance(cluster, RedisCluster)
    assert cluster.connection_kwargs["connection_class"].__name__ == "SSLConnection"


@pytest.mark.parametrize(
    "url",
    [
        "http://a:80",
        "redis+other://a",
        "redis+sentinel://a",
        "redis+sentinel://:secret@/boards",
        "redis+cluster://:sec/ret@a",
        "redis+cluster://:secret@a:port",
        "redis+cluster://:secret@a/1",
        "redis+cluster://:secret@a?nonsense=1",
        "redis://:sec/ret@a",
    ],
)
def test_an_address_that_is_none_is_refused_without_telling_its_password(url: str) -> None:
    with pytest.raises(InvalidSetting, match="see the README") as refusal:
        redis_module.connect(url)
    assert "sec" not in str(refusal.value)
