"""Clients that ask are told what is saved (L11): relays as processes, bare clients."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Map

from boardlog.ids import GENESIS
from boardlog.merge import EMPTY_STATE_VECTOR
from boardlog.snapshots import Snapshot
from tests.rawclient import HELLO, Frame, RawClient, framed, raw_client
from tests.services import System, system


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


class Author:
    """A document, and what a client that shows it would send."""

    def __init__(self, client: int) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)
        self.map = self.doc.get("tldraw", type=Map)

    def set(self, key: str) -> bytes:
        before = self.doc.get_state()
        self.map[key] = 1.0
        return framed("update", self.doc.get_update(before))

    def answer(self, asked: Frame) -> bytes:
        return framed("step2", self.doc.get_update(asked.body))


async def counts(client: RawClient, last: int) -> list[int]:
    """Return the counts that come, up to this one."""
    heard = [-1]
    while heard[-1] < last:
        heard.append((await client.receive_until("saved")).number)
    return heard[1:]


async def compacted(world: System, author: Author) -> None:
    """Store what the author has as the board's snapshot, at the head of its log."""
    head = await world.stores.streams.head(world.board)
    assert head is not None
    state = author.doc.get_update()
    snapshot = Snapshot(world.board, 1, head, GENESIS.id, state, author.doc.get_state())
    await world.stores.snapshots.store(snapshot, [], replaces=GENESIS)


async def test_L11_the_count_grows_to_what_was_sent_and_never_beyond(world) -> None:
    relays = await world.relays(2)
    author = Author(7)
    async with (
        raw_client(f"{relays[0].ws}/{world.board}", params={"apiKey": world.editor_key}) as client,
        raw_client(f"{relays[1].ws}/{world.board}", params={"apiKey": world.viewer_key}) as viewer,
    ):
        await client.send(HELLO)
        assert (await client.receive_until("welcome")).number == 1
        await viewer.send(HELLO)
        assert (await viewer.receive_until("welcome")).number == 0
        await client.send(*(author.set(f"key{number}") for number in range(50)))
        heard = await counts(client, last=50)
        assert heard == sorted(set(heard))
        assert (heard[0], heard[-1]) == (0, 50)
        assert await on_the_board(world, relays[1].ws) == {f"key{number}" for number in range(50)}
        # An echo is dropped (L12), and acknowledged: its author would wait for ever.
        await client.send(framed("step2", author.doc.get_update()))
        assert await counts(client, last=51) == [51]


async def test_L6_L11_a_loss_takes_saved_back_until_the_refill_is_logged(world) -> None:
    relay = (await world.relays(1))[0]
    author = Author(7)
    async with raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as client:
        await client.send(HELLO, author.set("kept"))
        await counts(client, last=1)
        await compacted(world, author)
        await client.send(author.set("lost"))
        await counts(client, last=2)
        await world.stores.streams.delete(world.board)
        await client.send(author.set("after"))  # its publish does not link: the relay reads anew
        await client.receive_until("unsaved")
        assert "lost" not in await on_the_board(world, relay.ws)
        await client.send(author.answer(await client.receive_until("step1")))
        assert (await counts(client, last=4))[-1] == 4
        assert await on_the_board(world, relay.ws) == {"kept", "lost", "after"}


async def test_L11_a_client_that_does_not_ask_hears_of_none_of_it(world) -> None:
    relay = (await world.relays(1))[0]
    author = Author(7)
    async with (
        raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as stock,
        raw_client(f"{relay.ws}/{world.board}", params={"apiKey": world.editor_key}) as asking,
    ):
        await asking.send(HELLO)
        await asking.receive_until("welcome")
        await stock.send(author.set("kept"), framed("update", b"\x00\x00"))
        await asking.receive_until("update")
        await compacted(world, author)
        await stock.send(author.set("lost"))
        await asking.receive_until("update")
        await world.stores.streams.delete(world.board)
        await stock.send(author.set("after"))
        await asking.receive_until("unsaved")
        # Whatever the loss causes is written before the answer to a question that comes later.
        await stock.send(framed("step1", EMPTY_STATE_VECTOR))
        heard = set()
        while (frame := await stock.receive()).kind != "step2":
            heard.add(frame.kind)
        assert heard <= {"step1", "update", "awareness"}


async def on_the_board(world: System, address: str) -> set[str]:
    """Return what a newcomer sees."""
    doc: Doc[Any] = Doc()
    async with raw_client(f"{address}/{world.board}", params={"apiKey": world.viewer_key}) as newcomer:
        await newcomer.send(framed("step1", EMPTY_STATE_VECTOR))
        frame = Frame("query")
        while frame.kind != "step2":
            frame = await newcomer.receive()
            if frame.kind in ("update", "step2"):
                doc.apply_update(frame.body)
    return set(doc.get("tldraw", type=Map))
