"""Forwards `/v1/…` to the bridge, so that page, socket, API and assets share one origin (`BRIDGE_URL`)."""

from collections.abc import Mapping

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from boardlog.leaving import Leaving, Left

log = structlog.get_logger()

FORWARD_SECONDS_MAX = 300.0
"""From the first byte of a request to the last one of its answer: a picture of 10 MiB on a line of 0.3 Mbit/s."""

# Of one connection, not of the message (RFC 9110 section 7.6.1).
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
     "upgrade", "host", "expect")
)  # fmt: skip


class BridgeForward:
    """Passes requests on unchanged, and answers as the bridge does."""

    def __init__(self, bridge_url: str, client: aiohttp.ClientSession) -> None:
        """Forward to `bridge_url`, an origin without a path. `client` must leave encoded bodies as they are."""
        self._bridge = URL(bridge_url)
        self._client = client
        self._leaving = Leaving()

    def leave(self, seconds: float) -> None:
        """End, after this time, the requests that have not been answered by then."""
        self._leaving.end(seconds)

    async def left(self) -> None:
        """Wait until no request is under way. Cancel-safe."""
        await self._leaving.ended()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Forward one request, its body as it comes. A bridge that does not answer is a 502 that says so.

        The bridge may refuse a body by its announced length: that answer is passed on while the client still sends.
        """
        response: web.StreamResponse | None = None
        try:
            async with self._leaving.work(), await self._ask(request) as answer:
                response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                return response
        except Left as error:
            refusal = web.json_response({"error": str(error)}, status=503, headers={"Retry-After": "1"})
        except (TimeoutError, aiohttp.ClientConnectionError) as error:
            log.warning("bridge_unreachable", reason=type(error).__name__)
            refusal = web.json_response({"error": "The bridge does not answer just now: try again."}, status=502)
        if response is None:
            return refusal
        # Half an answer must not look whole, so what breaks it breaks the connection.
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _ask(self, request: web.Request) -> aiohttp.ClientResponse:
        return await self._client.request(
            request.method,
            self._bridge.join(request.rel_url),
            headers=_of_request(request),
            skip_auto_headers=("Accept-Encoding",),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=FORWARD_SECONDS_MAX),
        )


def _of_request(request: web.Request) -> CIMultiDict[str]:
    headers = _end_to_end(request.headers)
    if headers.popall("Content-Encoding", None):  # the server has undone it, so the length is another
        headers.popall("Content-Length", None)
    return headers


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    kept: CIMultiDict[str] = CIMultiDict()
    for name, value in headers.items():
        if name.lower() not in _HOP_BY_HOP:
            kept.add(name, value)
    return kept
