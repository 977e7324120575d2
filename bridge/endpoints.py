"""The REST doors: HTTP in, calls out; every error a JSON sentence that says whose fault it is and what to do."""

import json
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn

import structlog
from aiohttp import web
from prometheus_client import Counter

from boardlog.access import Access, key_from
from boardlog.errors import BoardLogError, BoardNotFound, InvalidBoardId, StorageUnavailable
from boardlog.grant import Forbidden, Grant, Unauthenticated
from boardlog.ids import BoardId, EntryId, parse_board_id
from boardlog.snapshots import Snapshots
from boardlog.telemetry import METRICS
from bridge.compose import apply_patch, create, delete
from bridge.decompose import decompose, list_items
from bridge.errors import FieldError, InvalidItem, ItemExists, ItemNotFound
from bridge.items import parse_item
from bridge.replicas import Replicas
from bridge.writer import Changes, Records, Writer

log = structlog.get_logger()

BODY_BYTES_MAX = 512 * 1024
"""A request's body: content and style have 64 KiB, and JSON may spell a character in six bytes."""
ENTRY_ID_HEADER = "Board-Entry-Id"
"""The log's entry that holds a write; for those who follow the log themselves."""

REQUESTS = Counter("bridge_requests_total", "Requests, by method and status", ["method", "status"], registry=METRICS)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Items:
    """`/v1/boards/{board}/items`: what agents write and read."""

    def __init__(
        self,
        access: Access,
        snapshots: Snapshots,
        replicas: Replicas,
        writer: Writer,
        random_bits: Callable[[int], int],
    ) -> None:
        """Serve the boards that `replicas` holds copies of, change them through `writer`."""
        self._access = access
        self._snapshots = snapshots
        self._replicas = replicas
        self._writer = writer
        self._random_bits = random_bits

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        every, one = "/v1/boards/{board}/items", "/v1/boards/{board}/items/{id}"
        return [
            web.post(every, self.post),
            web.get(every, self.get_all),
            web.get(one, self.get_one),
            web.patch(one, self.patch),
            web.delete(one, self.delete),
        ]

    async def post(self, request: web.Request) -> web.Response:
        """Put an item on the board: 201 with the item as it stands there."""
        board = await self._enter(request, to_write=True)
        item = parse_item(await _json_of(request))
        item_id = item.id or str(uuid.uuid4())
        compose = partial(create, item=item, item_id=item_id, random_bits=self._random_bits)
        answer = await self._write(board, item_id, compose, status=201)
        answer.headers["Location"] = f"/v1/boards/{board}/items/{item_id}"
        return answer

    async def get_all(self, request: web.Request) -> web.Response:
        """Return every item on the board, people's shapes too."""
        board = await self._enter(request)
        async with self._replicas.use(board) as held:
            return web.json_response({"items": list_items(held.replica.records)})

    async def get_one(self, request: web.Request) -> web.Response:
        """Return one item."""
        board = await self._enter(request)
        async with self._replicas.use(board) as held:
            return web.json_response(decompose(held.replica.records, request.match_info["id"]))

    async def patch(self, request: web.Request) -> web.Response:
        """Change what a merge patch says, and nothing else: 200 with the item as it stands then."""
        board = await self._enter(request, to_write=True)
        item_id = request.match_info["id"]
        change = partial(apply_patch, item_id=item_id, patch=await _json_of(request))
        return await self._write(board, item_id, change)

    async def delete(self, request: web.Request) -> web.Response:
        """Take an item off the board, with what is inside it: 204."""
        board = await self._enter(request, to_write=True)
        item_id = request.match_info["id"]
        entry_id = await self._writer.write(board, lambda records: dict.fromkeys(delete(records, item_id)))
        return web.Response(status=204, headers=_headers(entry_id))

    async def _write(
        self, board: BoardId, item_id: str, compose: Callable[[Records], Changes], status: int = 200
    ) -> web.Response:
        """Change the board; answer with the item as this write left it, whatever others do to it by then."""
        left: dict[str, Any] = {}

        def compose_and_read(records: Records) -> Changes:
            changes = compose(records)
            left.update(decompose({**records, **changes}, item_id))
            return changes

        entry_id = await self._writer.write(board, compose_and_read)
        return web.json_response(left, status=status, headers=_headers(entry_id))

    async def _enter(self, request: web.Request, *, to_write: bool = False) -> BoardId:
        """Return the board, if the request's key opens it; create it for a key that may."""
        board = parse_board_id(request.match_info["board"])
        grant = await self._access.grant(key_from(request.headers), board)
        if to_write and not grant.can_append:
            raise Forbidden("This key may view the board, not change it.")
        if to_write and grant.can_create:
            await self._create_if_missing(grant)
        return board

    async def _create_if_missing(self, grant: Grant) -> None:
        try:
            await self._snapshots.load_cursor(grant.board)
        except BoardNotFound:
            await self._snapshots.create(grant.board)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a JSON sentence with its status; count the answer."""
    try:
        response = await handler(request)
    except BoardLogError as error:
        response = _error_response(error)
    except web.HTTPRequestEntityTooLarge:
        response = _sentence(413, f"A request's body may have {BODY_BYTES_MAX} bytes.")
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
    ItemExists: 409,
    InvalidItem: 422,
    StorageUnavailable: 503,
}
_MORE_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


def _error_response(error: BoardLogError) -> web.Response:
    status = _STATUSES.get(type(error), 500)
    if isinstance(error, InvalidItem):
        fields = [field._asdict() for field in error.errors]
        return web.json_response({"error": str(error), "fields": fields}, status=status)
    if status < 500:
        return _sentence(status, str(error), _MORE_HEADERS.get(status))
    log.error("request_failed", status=status, reason=str(error))
    sentence = "The board's storage is not available just now: try again."
    return _sentence(
        status, sentence if status == 503 else "Something went wrong on our side.", _MORE_HEADERS.get(status)
    )


def _sentence(status: int, sentence: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": sentence}, status=status, headers=headers)


def _headers(entry_id: EntryId | None) -> dict[str, str]:
    return {} if entry_id is None else {ENTRY_ID_HEADER: str(entry_id)}


async def _json_of(request: web.Request) -> Any:
    """Return the body's JSON value. Raises InvalidItem; hostile nesting and numbers that JSON lacks end here."""
    try:
        value = json.loads(await request.read(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidItem([FieldError("item", "The body is not JSON.")]) from None
    if not isinstance(value, dict):
        raise InvalidItem([FieldError("item", "The body is a JSON object.")])
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
