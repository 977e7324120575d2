"""The REST doors for assets: pictures that were dropped on boards, or that agents bring."""

import asyncio
import hashlib

from aiohttp import web

from bridge.admission import Admission
from bridge.asset_records import Asset
from bridge.asset_store import AssetStore
from bridge.errors import AssetNotFound, AssetTooLarge, FieldError, InvalidItem, UploadTimeout
from bridge.inspection import inspect
from bridge.items import RECORD_NAME

ASSET_BYTES_MAX = 10 * 1024 * 1024
UPLOADS_MAX = 4
"""As many uploads are in memory at once, of ASSET_BYTES_MAX at most; others wait with their bytes unread."""
UPLOAD_SECONDS_MAX = 45.0
"""What an upload has to arrive in, its wait for room included: less than a relay waits for us."""

# Immutable: other bytes have another id. A browser takes it for the picture that it is and runs nothing that it holds.
_HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class Assets:
    """`/v1/boards/{board}/assets/{id}`."""

    def __init__(self, admission: Admission, store: AssetStore) -> None:
        """Keep assets in `store`."""
        self._admission = admission
        self._store = store
        self._uploads = asyncio.Semaphore(UPLOADS_MAX)

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        one = "/v1/boards/{board}/assets/{id}"
        return [web.put(one, self.put), web.get(one, self.get)]

    async def put(self, request: web.Request) -> web.Response:
        """Store a picture: 201, or 200 if the board has it under this id already."""
        grant = await self._admission.enter(request, to_write=True)
        asset_id = request.match_info["id"]
        if not RECORD_NAME.fullmatch(asset_id):
            sentence = "An asset's id is 1 to 64 letters, digits, underscores or hyphens."
            raise InvalidItem([FieldError("id", sentence)])
        try:
            async with asyncio.timeout(UPLOAD_SECONDS_MAX) as arriving, self._uploads:
                body = await _body_of(request)
                arriving.reschedule(None)  # what follows has bounds of its own
                picture = await inspect(body)
                digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
                asset = Asset(grant.board, asset_id, picture, len(body), digest, grant.label)
                is_new = await self._store.put(asset, body)
        except TimeoutError:
            raise UploadTimeout(f"This picture has not arrived within {UPLOAD_SECONDS_MAX:.0f} s: try again.") from None
        answer = {
            "id": asset_id,
            "url": asset.url,
            "mime_type": asset.picture.mime_type,
            "width": asset.picture.width,
            "height": asset.picture.height,
            "size_bytes": asset.size_bytes,
        }
        return web.json_response(answer, status=201 if is_new else 200, headers={"Location": asset.url})

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Return a picture's bytes; 304 to who has them."""
        grant = await self._admission.enter(request)
        asset = await self._store.find(grant.board, request.match_info["id"])
        if asset is None:
            raise AssetNotFound(request.match_info["id"])
        if any(tag.value in {asset.sha256, "*"} for tag in request.if_none_match or ()):
            response = web.StreamResponse(status=304, headers=_HEADERS)
            response.etag = asset.sha256
            await response.prepare(request)
            return response
        return await self._send(request, asset)

    async def _send(self, request: web.Request, asset: Asset) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        response.etag = asset.sha256
        response.content_type = asset.picture.mime_type
        response.content_length = asset.size_bytes
        await response.prepare(request)
        if request.method == "GET":
            async for chunk in self._store.read(asset.board, asset.asset_id):
                await response.write(chunk)
        return response


async def _body_of(request: web.Request) -> bytes:
    """Return an upload's bytes. Raises AssetTooLarge: at once, where it says its length."""
    too_large = AssetTooLarge(f"A picture may have {ASSET_BYTES_MAX} bytes: make it smaller.")
    if (request.content_length or 0) > ASSET_BYTES_MAX:
        raise too_large
    try:
        return await request.clone(client_max_size=ASSET_BYTES_MAX).read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
