"""Errors as answers: a JSON sentence that says whose fault it is and what to do, with its status."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter

from boardlog.errors import BoardLogError, BoardNotFound, InvalidBoardId, LogFull, StorageUnavailable
from boardlog.grant import Forbidden, Unauthenticated
from boardlog.leaving import Leaving, Left
from boardlog.telemetry import METRICS
from bridge.errors import (
    AssetExists,
    AssetNotFound,
    AssetTooLarge,
    BoardTooDear,
    BrokenPicture,
    InvalidItem,
    ItemExists,
    ItemNotFound,
    UnknownAsset,
    UnsupportedPicture,
    UploadTimeout,
)

log = structlog.get_logger()

REQUESTS = Counter("bridge_requests_total", "Requests, by method and status", ["method", "status"], registry=METRICS)

FULL_RETRY_AFTER = {"Retry-After": "30"}
"""Longer than other 503s say: a full log needs its database back, and some time then."""


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a JSON sentence with its status; count the answer."""
    try:
        response = await handler(request)
    except (BoardLogError, web.HTTPException, TimeoutError) as error:
        response = _answer_to(error, request)
        if request.writer.output_size and request.transport is not None:
            request.transport.abort()  # an answer has begun: half of it, and this one behind it, must not look whole
    REQUESTS.labels(request.method, response.status).inc()
    return response


def end_when(leaving: Leaving) -> Middleware:
    """Return a middleware that ends requests when the process leaves: Left is raised in them (G10)."""

    @web.middleware
    async def ended(request: web.Request, handler: Handler) -> web.StreamResponse:
        async with leaving.work():
            return await handler(request)

    return ended


def _answer_to(error: Exception, request: web.Request) -> web.Response:
    match error:
        case Left():
            return _sentence(503, str(error), _MORE_HEADERS[503])
        case BoardLogError():
            return _error_response(error)
        case web.HTTPRequestEntityTooLarge():
            return _sentence(413, f"A request's body may have {request.client_max_size} bytes.")
        case web.HTTPException():
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return _sentence(error.status, error.reason, allow)
    return _sentence(503, "The board's log does not answer just now: try again.")


_STATUSES: dict[type[BoardLogError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    BoardNotFound: 404,
    InvalidBoardId: 404,
    ItemNotFound: 404,
    AssetNotFound: 404,
    UploadTimeout: 408,
    ItemExists: 409,
    AssetExists: 409,
    BoardTooDear: 409,
    AssetTooLarge: 413,
    UnsupportedPicture: 415,
    InvalidItem: 422,
    UnknownAsset: 422,
    BrokenPicture: 422,
    StorageUnavailable: 503,
    LogFull: 503,
}
_MORE_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


def _error_response(error: BoardLogError) -> web.Response:
    status = _STATUSES.get(type(error), 500)
    if isinstance(error, InvalidItem):
        fields = [field._asdict() for field in error.errors]
        return web.json_response({"error": str(error), "fields": fields}, status=status)
    if status < 500:
        return _sentence(status, str(error), _MORE_HEADERS.get(status))
    if isinstance(error, LogFull):  # the log tells of it once, not for every request
        return _sentence(503, str(error), FULL_RETRY_AFTER)
    log.error("request_failed", status=status, reason=str(error))
    sentence = "The board's storage is not available just now: try again."
    return _sentence(
        status, sentence if status == 503 else "Something went wrong on our side.", _MORE_HEADERS.get(status)
    )


def _sentence(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": sentence}, status=status, headers=headers)
