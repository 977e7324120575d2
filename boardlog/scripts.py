"""Running the scripts in `lua/` by their hash, many calls at once: on one server, or on the nodes of a cluster."""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any, Self

from redis.asyncio import Redis as RedisClient
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import ClusterDownError, NoScriptError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from boardlog.errors import StorageUnavailable
from boardlog.redis import Redis, Traffic, refusal, request, unavailable
from boardlog.requests import Call

_NODE_FAILED = (StorageUnavailable, RedisConnectionError, RedisTimeoutError, ClusterDownError)
"""In place of a reply: the node of a cluster that should have given it is down, or cut off."""


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script, called by the hash of its text."""

    text: bytes
    sha: str

    @classmethod
    def named(cls, name: str) -> Self:
        """Read `lua/{name}.lua`."""
        text = files("boardlog").joinpath("lua", f"{name}.lua").read_bytes()
        return cls(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())

    def call(self, keys: Sequence[str], args: Sequence[str | bytes]) -> Call:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha, str(len(keys)), *keys, *args)


@dataclass(frozen=True, slots=True)
class Scripts:
    """All scripts, and the client that runs them."""

    redis: Redis
    append: Script = field(default_factory=lambda: Script.named("append"))
    birth: Script = field(default_factory=lambda: Script.named("birth"))
    trim: Script = field(default_factory=lambda: Script.named("trim"))
    rebase: Script = field(default_factory=lambda: Script.named("rebase"))
    mark_due: Script = field(default_factory=lambda: Script.named("mark_due"))
    audit: Script = field(default_factory=lambda: Script.named("audit"))
    claim: Script = field(default_factory=lambda: Script.named("claim"))
    release: Script = field(default_factory=lambda: Script.named("release"))

    @property
    def in_order(self) -> bool:
        """Whether the calls of a pipeline are carried out in their order: the nodes of a cluster wait for nobody."""
        return isinstance(self.redis, RedisClient)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes]) -> Any:
        """Run one script. Raises StorageUnavailable: then it ran, or not."""
        return await self.call(script.call(keys, args))

    async def call(self, call: Call) -> Any:
        """Have one call carried out. Raises StorageUnavailable: then it was, or not."""
        (reply,) = answered(await self.pipeline([call]))
        return reply

    async def pipeline(self, calls: Sequence[Call], traffic: Traffic = Traffic.REST) -> list[Any]:
        """Send all calls at once; one that was refused, or got no answer, gives its exception in place of a reply.

        A server that has just started, or become the master, knows no script: it is sent the text in place of the hash,
        which it keeps.
        """
        replies = await self._send(calls, traffic)
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = [self._with_text(calls[index]) for index in unknown]
            for index, reply in zip(unknown, await self._send(again, traffic), strict=True):
                replies[index] = reply
        return replies

    def _with_text(self, call: Call) -> Call:
        scripts = (getattr(self, one.name) for one in fields(self))
        text = next(script.text for script in scripts if isinstance(script, Script) and script.sha == call[1])
        return ("EVAL", text, *call[2:])

    async def _send(self, calls: Sequence[Call], traffic: Traffic) -> list[Any]:
        if isinstance(self.redis, RedisCluster):
            return await _send_to_nodes(self.redis, calls)
        try:
            return await request(self.redis, calls, traffic)
        except StorageUnavailable as error:
            return [error] * len(calls)


def answered(replies: list[Any]) -> list[Any]:
    """Return replies none of which is an exception. Raises StorageUnavailable with the first one that is."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise refusal(reply)
    return replies


async def _replies(redis: RedisCluster, calls: Sequence[Call], node: ClusterNode) -> list[Any]:
    try:
        with unavailable():
            async with redis.pipeline(transaction=False) as pipe:
                for call in calls:
                    pipe.execute_command(*call, target_nodes=node)
                replies: list[Any] = await pipe.execute(raise_on_error=False)
                return replies
    except StorageUnavailable as error:
        return [error] * len(calls)


async def _send_to_nodes(redis: RedisCluster, calls: Sequence[Call]) -> list[Any]:
    """Send each node of a cluster its calls, in their order, so that one which is down fails no call but its own."""
    by_node: dict[ClusterNode, list[int]] = {}
    try:
        with unavailable():
            await redis.initialize()
            for index, call in enumerate(calls):
                node = redis.nodes_manager.get_node_from_slot(redis.keyslot(_key(call)))
                by_node.setdefault(node, []).append(index)
    except StorageUnavailable as error:
        return [error] * len(calls)
    replies: list[Any] = [None] * len(calls)

    async def send(node: ClusterNode, indexes: list[int]) -> None:
        given = await _replies(redis, [calls[index] for index in indexes], node)
        for index, reply in zip(indexes, given, strict=True):
            replies[index] = reply
        if any(isinstance(reply, _NODE_FAILED) for reply in given):
            await _ask_who_serves(redis, node)

    await asyncio.gather(*(send(*some) for some in by_node.items()))
    return replies


def _key(call: Call) -> str:
    """Return the key, or the channel, that tells which node of a cluster is to carry out a call."""
    return str(call[3] if call[0] in ("EVALSHA", "EVAL") else call[1])


async def _ask_who_serves(redis: RedisCluster, failed: ClusterNode) -> None:
    """Learn anew which node serves which slot, from `failed` last; if nobody tells, what is known stays."""
    nodes = redis.nodes_manager
    # All that were known lately may have moved: the addresses we were given are asked, too.
    nodes.startup_nodes.update({node.name: node for node in redis.startup_nodes})
    nodes.move_node_to_end_of_cached_nodes(failed.name)
    with suppress(StorageUnavailable), unavailable():
        await nodes.initialize(last_failed_node_name=failed.name)
