"""An agent: nothing but HTTP."""

from typing import Any

from aiohttp import ClientSession


class Agent:
    """Speaks to one board at `/v1/boards/{board}`."""

    def __init__(self, address: str, client: ClientSession, key: str) -> None:
        self._address = address
        self._client = client
        self._headers = {"X-API-Key": key}

    async def post(self, **item: Any) -> str:
        """Write an item and return its shape's key."""
        async with self._client.post(f"{self._address}/items", json=item, headers=self._headers) as answer:
            body = await answer.json()
            assert answer.status == 201, body
            return f"shape:{body['id']}"

    async def patch(self, key: str, **changes: Any) -> None:
        """Change an item by its shape's key."""
        async with self._client.patch(
            f"{self._address}/items/{key.removeprefix('shape:')}", json=changes, headers=self._headers
        ) as answer:
            assert answer.status == 200, await answer.text()

    async def delete(self, key: str) -> None:
        async with self._client.delete(
            f"{self._address}/items/{key.removeprefix('shape:')}", headers=self._headers
        ) as answer:
            assert answer.status in (200, 204), await answer.text()

    async def items(self) -> list[dict[str, Any]]:
        async with self._client.get(f"{self._address}/items", headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()
            listed: list[dict[str, Any]] = (await answer.json())["items"]
            return listed

    async def upload(self, asset: str, picture: bytes) -> dict[str, Any]:
        """Put a picture into the board's store and return what is known of it."""
        async with self._client.put(f"{self._address}/assets/{asset}", data=picture, headers=self._headers) as answer:
            body: dict[str, Any] = await answer.json()
            assert answer.status == 201, body
            return body

    async def picture(self, address: str) -> tuple[bytes, str]:
        """Return the bytes and the type of a stored picture by its own address."""
        origin = self._address.partition("/v1/")[0]
        async with self._client.get(origin + address, headers=self._headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read(), answer.content_type
