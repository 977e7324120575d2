"""Slow, stuck and half-open clients by the hundred: a process of its own, so that it slows nothing but the relay.

Run as `python -m tests.faults.crowd {port} {board} {key}`: says `started`, and then how many seconds it took the relay
to end the last of them.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.faults.slowclient import SlowClient, begun_frame, slow_client
from tests.rawclient import EMPTY_STATE_VECTOR

SLOW_OF_A_KIND = 50

# What the slow ones do, once they are connected. Each returns when the relay has ended it.


async def never_reads(client: SlowClient) -> None:
    await client.ask()
    await is_ended(client)


async def reads_a_little(client: SlowClient) -> None:
    await client.ask()
    while await client.forget(1024):
        await asyncio.sleep(1)


async def vanishes(client: SlowClient) -> None:
    """As a proxy that swallows, or a cut cable: what is sent arrives nowhere that answers."""
    await client.ask()
    while await client.forget():
        pass


async def asks_again_and_again(client: SlowClient) -> None:
    """Half of the times for a difference of its own: nobody shares that."""
    for number in range(100):
        await client.ask(bytes((1, number + 1, 1)) if number % 2 == 0 else EMPTY_STATE_VECTOR)
    await is_ended(client)


async def stops_within_a_frame(client: SlowClient) -> None:
    await client.send(begun_frame((1 << 20), sent=100_000))
    while await client.forget():
        pass


async def does_not_finish_its_handshake(client: SlowClient) -> None:
    await is_ended(client)


KINDS: list[Callable[[SlowClient], Awaitable[None]]] = [
    never_reads,
    reads_a_little,
    vanishes,
    asks_again_and_again,
    stops_within_a_frame,
    does_not_finish_its_handshake,
]


async def is_ended(client: SlowClient) -> None:
    """Wait until the relay has ended the connection, without reading a byte of it."""
    while not client.is_reset():
        await asyncio.sleep(0.2)


async def misbehave(port: int, board: str, key: str) -> float:
    """Let slow clients of all kinds join at once; return after how many seconds the last one had been ended."""
    began = time.monotonic()

    async def one(kind: Callable[[SlowClient], Awaitable[None]]) -> None:
        async with slow_client(port, board, key, finished=kind is not does_not_finish_its_handshake) as client:
            with suppress(ConnectionError):  # ended while it sent
                await kind(client)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for kind in KINDS:
            for _ in range(SLOW_OF_A_KIND):
                tasks.create_task(one(kind))
    return time.monotonic() - began


def command(port: int, board: str, key: str) -> list[str]:
    """Return the command that runs the process."""
    return [sys.executable, "-m", "tests.faults.crowd", str(port), board, key]


if __name__ == "__main__":
    sys.stdout.write("started\n")
    sys.stdout.flush()
    sys.stdout.write(str(asyncio.run(misbehave(int(sys.argv[1]), sys.argv[2], sys.argv[3]))))
