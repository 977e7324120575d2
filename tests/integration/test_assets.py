"""Pictures over HTTP: uploaded to a bridge, read by whoever has a key of the board, shown by items."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from boardlog.access import new_key
from boardlog.grant import Role
from bridge.asset_endpoints import ASSET_BYTES_MAX
from tests.picturefiles import MIME_TYPES, picture_file
from tests.services import Service, System, system
from tests.stockclient import StockClients

Answer = tuple[int, Any, "aiohttp.typedefs.LooseHeaders"]


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


class Caller:
    """Speaks to one board over HTTP."""

    def __init__(self, service: Service, world: System, key: str, client: aiohttp.ClientSession) -> None:
        self.base = f"/v1/boards/{world.board}"
        self._origin = service.url
        self._client = client
        self._headers = {"X-API-Key": key}

    async def call(self, method: str, path: str, headers: dict[str, str] | None = None, **how: Any) -> Answer:
        """Return status, body (JSON, where it is that) and headers."""
        url = self._origin + (path if path.startswith("/") else f"{self.base}/{path}")
        async with self._client.request(method, url, headers=self._headers | (headers or {}), **how) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.read()), answer.headers

    async def put(self, asset_id: str, body: Any) -> Answer:
        return await self.call("PUT", f"assets/{asset_id}", data=body)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


@pytest.fixture
async def bridge(world: System) -> Service:
    return await world.start("bridge")


@pytest.fixture
def editor(bridge: Service, world: System, http: aiohttp.ClientSession) -> Caller:
    return Caller(bridge, world, world.editor_key, http)


@pytest.fixture
def viewer(bridge: Service, world: System, http: aiohttp.ClientSession) -> Caller:
    return Caller(bridge, world, world.viewer_key, http)


@pytest.mark.parametrize("kind", MIME_TYPES)
async def test_an_uploaded_picture_is_told_of_and_read_as_what_it_is(editor, viewer, kind: str) -> None:
    body = picture_file(kind, (60, 40))
    status, told, headers = await editor.call("PUT", "assets/pic", {"Content-Type": "text/html"}, data=body)
    url = f"{editor.base}/assets/pic"
    assert (status, headers["Location"]) == (201, url)
    assert told == {
        "id": "pic", "url": url, "mime_type": MIME_TYPES[kind], "width": 60, "height": 40, "size_bytes": len(body),
    }  # fmt: skip
    status, read, headers = await viewer.call("GET", told["url"])
    assert (status, read, headers["Content-Type"]) == (200, body, MIME_TYPES[kind])
    assert headers["Content-Length"] == str(len(body))
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    status, read, headers = await viewer.call("GET", url, {"If-None-Match": headers["ETag"]})
    assert (status, read, headers["Cache-Control"]) == (304, b"", "private, max-age=31536000, immutable")
    assert (await viewer.call("GET", url, {"If-None-Match": '"other"'}))[:2] == (200, body)
    status, read, headers = await viewer.call("HEAD", url)
    assert (status, read, headers["Content-Length"]) == (200, b"", str(len(body)))


async def test_the_same_bytes_again_are_fine_and_others_are_refused(editor) -> None:
    body = picture_file("PNG")
    first = await editor.put("pic", body)
    again = await editor.put("pic", body)
    assert (first[0], again[0]) == (201, 200)
    assert first[1] == again[1]
    status, problem, _ = await editor.put("pic", picture_file("GIF"))
    assert (status, problem["error"]) == (
        409,
        "There is an asset 'pic' with other bytes on this board: choose another id.",
    )
    assert (await editor.call("GET", "assets/pic"))[1] == body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 415),
        (b"GIF89a<html><script>alert(1)</script></html>", 415),
        (picture_file("PNG")[:-1], 422),
        (picture_file("PNG") + b"<html>", 422),
    ],
)
async def test_what_is_no_whole_picture_is_refused_whatever_its_header_says(editor, body: bytes, status: int) -> None:
    answered, problem, _ = await editor.call("PUT", "assets/pic", {"Content-Type": "image/png"}, data=body)
    assert answered == status
    assert problem["error"].endswith(".")
    assert (await editor.call("GET", "assets/pic"))[0] == 404


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536 + 1):
        yield bytes(65536)


@pytest.mark.parametrize("by", ["its length", "its bytes"])
@pytest.mark.parametrize("through", ["the bridge", "a relay"])
async def test_a_picture_that_is_too_large_is_refused(world, http, bridge, editor, by: str, through: str) -> None:
    if through == "a relay":
        relay = await world.start("relay", BRIDGE_URL=bridge.url)
        editor = Caller(relay, world, world.editor_key, http)
    size = ASSET_BYTES_MAX + 1
    status, problem, _ = await editor.put("pic", BytesIO(bytes(size)) if by == "its length" else chunks(size))
    assert (status, problem["error"]) == (413, f"A picture may have {ASSET_BYTES_MAX} bytes: make it smaller.")


async def test_a_picture_of_ten_megabytes_goes_up_and_down_through_a_relay(world, http, bridge) -> None:
    relay = await world.start("relay", BRIDGE_URL=bridge.url)
    caller = Caller(relay, world, world.editor_key, http)
    plain = picture_file("JPEG")
    comment = b"\xff\xfe\xff\xff" + bytes(65533)
    body = plain[:2] + comment * ((ASSET_BYTES_MAX - len(plain)) // len(comment)) + plain[2:]
    body += bytes(ASSET_BYTES_MAX - len(body))
    assert (await caller.put("pic", BytesIO(body)))[0] == 201
    status, read, headers = await caller.call("GET", "assets/pic")
    assert (status, read == body, headers["Content-Type"]) == (200, True, "image/jpeg")
    assert (await caller.call("GET", "assets/pic", {"If-None-Match": headers["ETag"]}))[0] == 304


async def test_many_uploads_at_once_all_arrive(editor) -> None:
    bodies = [picture_file("PNG", (10 + number, 10)) for number in range(12)]
    answers = await asyncio.gather(*(editor.put(f"pic{number}", body) for number, body in enumerate(bodies)))
    assert [answer[0] for answer in answers] == [201] * 12
    read = await asyncio.gather(*(editor.call("GET", f"assets/pic{number}") for number in range(12)))
    assert [answer[1] for answer in read] == bodies


async def test_who_may_not_is_told_so(world, http, bridge, editor, viewer) -> None:
    body = picture_file()
    assert (await viewer.put("pic", body))[0] == 403
    nobody = Caller(bridge, world, "dc_wrong", http)
    assert (await nobody.put("pic", body))[0] == 401
    await editor.put("pic", body)
    assert (await nobody.call("GET", "assets/pic"))[0] == 401
    assert (await viewer.call("GET", "assets/pic"))[0] == 200
    assert (await viewer.call("GET", "assets/other"))[0] == 404
    status, problem, _ = await editor.put("p.png", body)
    assert (status, problem["fields"][0]["field"]) == (422, "id")
    assert (await editor.call("DELETE", "assets/pic"))[0] == 405


async def test_a_key_for_every_board_brings_a_board_into_being_with_its_first_picture(world, http, bridge) -> None:
    key = new_key()
    await world.stores.access.create_key(key, "*", Role.EDITOR, "everywhere")
    caller = Caller(bridge, world, key, http)
    caller.base = "/v1/boards/fresh"
    assert (await caller.put("pic", picture_file()))[0] == 201
    assert (await caller.call("GET", "items"))[1] == {"items": []}


def image(content: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"type": "image", "x": 1, "y": 2, "content": content, **more}


async def test_an_agents_image_of_an_uploaded_picture_reaches_people_and_goes_with_its_item(world, editor) -> None:
    relay = await world.start("relay")
    body = picture_file("GIF", (60, 40), frames=2)
    url = (await editor.put("pic", body))[1]["url"]
    await editor.put("other", picture_file("PNG", (3000, 1500)))
    async with StockClients() as clients:
        person = await clients.open(relay.ws, world.board, key=world.viewer_key)
        status, item, _ = await editor.call("POST", "items", json=image({"asset_id": "pic"}, id="one"))
        assert (status, item["width"], item["height"], item["content"]) == (201, 60, 40, {"asset_id": "pic"})
        await person.wait_key("shape:one")
        assert (await person.get("shape:one"))["props"]["assetId"] == "asset:pic"
        assert (await person.get("asset:pic"))["props"] == {
            "src": url, "w": 60, "h": 40, "mimeType": "image/gif", "isAnimated": True, "name": "pic",
            "fileSize": len(body),
        }  # fmt: skip
        status, item, _ = await editor.call("PATCH", "items/one", json={"content": {"asset_id": "other"}})
        assert (status, item["content"]) == (200, {"asset_id": "other"})
        await person.wait_key("asset:other")
        await person.wait_absent("asset:pic")
        assert (await editor.call("DELETE", "items/one"))[0] == 204
        await person.wait_absent("asset:other")
    assert (await editor.call("GET", "assets/pic"))[1] == body  # to be shown again


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_an_image_of_an_asset_that_is_nowhere_names_the_field(editor, method: str) -> None:
    await editor.call("POST", "items", json=image({"url": "https://example.org/a.png"}, id="one"))
    if method == "POST":
        answer = await editor.call("POST", "items", json=image({"asset_id": "none"}))
    else:
        answer = await editor.call("PATCH", "items/one", json={"content": {"url": None, "asset_id": "none"}})
    assert answer[0] == 422
    assert answer[1]["fields"] == [
        {"field": "content.asset_id", "message": "This board has no such asset: upload it first, or give a url."}
    ]
