"""Uploaded pictures: the same cases against the twin, PostgreSQL 18 and the machine's own."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator

import asyncpg
import pytest

from boardlog import database as database_module
from boardlog.errors import BoardNotFound
from boardlog.ids import BoardId
from boardlog.snapshots import PostgresSnapshots
from bridge.asset_records import Asset
from bridge.asset_store import CHUNK_BYTES, AssetStore, PostgresAssets
from bridge.errors import AssetExists, AssetTooLarge
from bridge.pictures import Picture
from bridge.twin import TwinAssets
from tests.contract.stores import machine_database

BOARD, OTHER, MISSING = BoardId("board"), BoardId("other"), BoardId("missing")
BOARD_BYTES_MAX = 3 * CHUNK_BYTES
PICTURE = Picture("image/png", 30, 20, is_animated=True)


@pytest.fixture(params=["twin", "postgres 18", "the machine's postgres"])
async def assets(request: pytest.FixtureRequest, database: str) -> AsyncIterator[AssetStore]:
    if request.param == "twin":
        yield TwinAssets({BOARD, OTHER}, BOARD_BYTES_MAX)
    elif request.param == "postgres 18":
        async for made in postgres_assets(database):
            yield made
    else:
        async with machine_database() as url:
            async for made in postgres_assets(url):
                yield made


async def postgres_assets(url: str) -> AsyncIterator[AssetStore]:
    pool = await database_module.connect(url)
    for board in (BOARD, OTHER):
        await PostgresSnapshots(pool).create(board)
    yield PostgresAssets(pool, BOARD_BYTES_MAX)
    await pool.close()


def asset(asset_id: str, body: bytes, board: BoardId = BOARD) -> Asset:
    return Asset(board, asset_id, PICTURE, len(body), hashlib.sha256(body).hexdigest(), "Ann's key")


async def bytes_of(assets: AssetStore, board: BoardId, asset_id: str) -> bytes:
    return b"".join([chunk async for chunk in assets.read(board, asset_id)])


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
async def test_what_is_put_is_found_and_read_in_chunks(assets: AssetStore, size: int) -> None:
    body = secrets.token_bytes(size)
    assert await assets.put(asset("pic", body), body)
    assert await assets.find(BOARD, "pic") == asset("pic", body)
    assert await bytes_of(assets, BOARD, "pic") == body
    assert [len(chunk) async for chunk in assets.read(BOARD, "pic")][:-1] == [CHUNK_BYTES] * ((size - 1) // CHUNK_BYTES)


async def test_what_was_not_put_is_not_there(assets: AssetStore) -> None:
    await assets.put(asset("pic", b"1"), b"1")
    for board, asset_id in ((BOARD, "other"), (OTHER, "pic"), (MISSING, "pic")):
        assert await assets.find(board, asset_id) is None
        assert await bytes_of(assets, board, asset_id) == b""


async def test_the_same_bytes_again_change_nothing_and_others_are_refused(assets: AssetStore) -> None:
    body = bytes(BOARD_BYTES_MAX)
    assert await assets.put(asset("pic", body), body)
    assert not await assets.put(asset("pic", body)._replace(created_by="Bob's key"), body)
    with pytest.raises(AssetExists, match="'pic' with other bytes"):
        await assets.put(asset("pic", b"other"), b"other")
    assert await assets.find(BOARD, "pic") == asset("pic", body)
    assert await bytes_of(assets, BOARD, "pic") == body


async def test_a_board_has_room_to_the_last_byte_and_no_further(assets: AssetStore) -> None:
    most, last = bytes(BOARD_BYTES_MAX - 1), b"1"
    await assets.put(asset("most", most), most)
    with pytest.raises(AssetTooLarge, match=f"{BOARD_BYTES_MAX} bytes together, and have {BOARD_BYTES_MAX - 1}"):
        await assets.put(asset("more", b"12"), b"12")
    assert await assets.find(BOARD, "more") is None
    assert await assets.put(asset("last", last), last)
    with pytest.raises(AssetTooLarge):
        await assets.put(asset("more", b"1"), b"1")
    assert await assets.put(asset("most", most, OTHER), most)  # each board has its own


async def test_uploads_that_race_do_not_exceed_the_bound_together(assets: AssetStore) -> None:
    third = bytes(BOARD_BYTES_MAX // 3)
    outcomes = await asyncio.gather(
        *(assets.put(asset(f"pic{number}", third), third) for number in range(8)), return_exceptions=True
    )
    assert [outcome for outcome in outcomes if outcome is True] == [True] * 3
    assert all(isinstance(outcome, AssetTooLarge) for outcome in outcomes if outcome is not True)


async def test_of_uploads_of_one_id_that_race_one_wins(assets: AssetStore) -> None:
    bodies = [b"%d" % number for number in range(8)]
    outcomes = await asyncio.gather(*(assets.put(asset("pic", body), body) for body in bodies), return_exceptions=True)
    [won] = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome is True]
    assert await bytes_of(assets, BOARD, "pic") == won
    assert sum(isinstance(outcome, AssetExists) for outcome in outcomes) == 7


async def test_a_board_that_does_not_exist_takes_nothing(assets: AssetStore) -> None:
    with pytest.raises(BoardNotFound):
        await assets.put(asset("pic", b"1", MISSING), b"1")


async def test_a_deleted_board_takes_its_assets_with_it(database: str) -> None:
    async for assets in postgres_assets(database):
        await assets.put(asset("pic", b"1"), b"1")
        connection = await asyncpg.connect(database)
        await connection.execute("DELETE FROM canvas_snapshots WHERE board_id = $1", BOARD)
        await connection.close()
        assert await assets.find(BOARD, "pic") is None
