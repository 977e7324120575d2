"""Errors as answers: a JSON sentence that says whose fault it is and what to do, with its status."""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from prometheus_client import Counter

from boardlog.errors import BoardLogError, BoardNotFound, InvalidBoardId, LogFull, StorageUnavailable
from boardlog.grant import Forbidden, Unauthenticated
from boardlog.telemetry import METRICS
from bridge.errors import (
    AssetExists,
    AssetNotFound,
    AssetTooLarge,
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

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a JSON sentence with its status; count the answer."""
    try:
        response = await handler(request)
    except BoardLogError as error:
        response = _error_response(error)
    except web.HTTPRequestEntityTooLarge:
        response = _sentence(413, f"A request's body may have {request.client_max_size} bytes.")
    except web.HTTPException as error:
        response = _sentence(error.status, error.reason)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
    except TimeoutError:
        response = _sentence(503, "The board's log does not answer just now: try again.")
    REQUESTS.labels(request.method, response.status).inc()
    return response


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
