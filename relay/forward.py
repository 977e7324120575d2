"""Forwards `/v1/…` to the bridge, so that page, socket, API and assets share one origin (`BRIDGE_URL`)."""

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

log = structlog.get_logger()

FORWARD_SECONDS_MAX = 60.0

# Of one connection, not of the message (RFC 9110 section 7.6.1); lengths and encodings are set anew.
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "host", "content-length", "content-encoding", "accept-encoding", "expect")
)  # fmt: skip


class BridgeForward:
    """Passes requests on unchanged, and answers as the bridge does."""

    def __init__(self, bridge_url: str, client: aiohttp.ClientSession) -> None:
        """Forward to `bridge_url`, an origin without a path."""
        self._bridge = URL(bridge_url)
        self._client = client

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request. A bridge that does not answer is a 502 that says so."""
        target = self._bridge.join(request.rel_url)
        try:
            async with self._client.request(
                request.method,
                target,
                headers=_end_to_end(request.headers),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=FORWARD_SECONDS_MAX),
            ) as answer:
                response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response
        except (TimeoutError, aiohttp.ClientConnectionError) as error:
            log.warning("bridge_unreachable", reason=type(error).__name__)
            return web.json_response({"error": "The bridge does not answer just now: try again."}, status=502)


def _end_to_end(headers: "CIMultiDict[str] | aiohttp.typedefs.LooseHeaders") -> CIMultiDict[str]:
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in CIMultiDict(headers).items():
        if name.lower() not in _HOP_BY_HOP:
            kept.add(name, value)
    return kept
