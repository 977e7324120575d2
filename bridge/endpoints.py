"""The REST doors for items: HTTP in, calls out."""

import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from aiohttp import web

from boardlog.grant import Grant
from boardlog.ids import EntryId
from bridge.admission import Admission
from bridge.agent_presence import AgentPresence
from bridge.agents import NOWHERE, Place, name_of, place_of
from bridge.asset_records import Asset
from bridge.asset_store import AssetStore
from bridge.compose import apply_patch, create, delete
from bridge.decompose import decompose, list_items
from bridge.errors import FieldError, InvalidItem, UnknownAsset
from bridge.items import parse_item
from bridge.replicas import Replicas
from bridge.writer import Changes, Records, Writer

BODY_BYTES_MAX = 512 * 1024
"""A request's body: content and style have 64 KiB, and JSON may spell a character in six bytes."""
ENTRY_ID_HEADER = "Board-Entry-Id"
"""The log's entry that holds a write; for those who follow the log themselves."""


class Items:
    """`/v1/boards/{board}/items`: what agents write and read."""

    def __init__(
        self,
        admission: Admission,
        replicas: Replicas,
        writer: Writer,
        assets: AssetStore,
        agents: AgentPresence,
        random_bits: Callable[[int], int],
    ) -> None:
        """Serve the boards that `replicas` holds copies of, change them through `writer`, tell of it to `agents`."""
        self._admission = admission
        self._replicas = replicas
        self._writer = writer
        self._assets = assets
        self._agents = agents
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
        grant = await self._admission.enter(request, to_write=True)
        item = parse_item(await _json_of(request))
        item_id = item.id or str(uuid.uuid4())

        def compose(records: Records, uploaded: Asset | None) -> Changes:
            return create(records, item, item_id, self._random_bits, uploaded)

        answer = await self._write(grant, item_id, compose, status=201, created_by=item.created_by)
        answer.headers["Location"] = f"/v1/boards/{grant.board}/items/{item_id}"
        return answer

    async def get_all(self, request: web.Request) -> web.Response:
        """Return every item on the board, people's shapes too."""
        grant = await self._admission.enter(request)
        async with self._replicas.use(grant.board) as held:
            return web.json_response({"items": list_items(held.replica.records)})

    async def get_one(self, request: web.Request) -> web.Response:
        """Return one item."""
        grant = await self._admission.enter(request)
        async with self._replicas.use(grant.board) as held:
            return web.json_response(decompose(held.replica.records, request.match_info["id"]))

    async def patch(self, request: web.Request) -> web.Response:
        """Change what a merge patch says, and nothing else: 200 with the item as it stands then."""
        grant = await self._admission.enter(request, to_write=True)
        item_id = request.match_info["id"]
        patch = await _json_of(request)
        return await self._write(grant, item_id, lambda records, up: apply_patch(records, item_id, patch, up))

    async def delete(self, request: web.Request) -> web.Response:
        """Take an item off the board, with what is inside it: 204."""
        grant = await self._admission.enter(request, to_write=True)
        item_id = request.match_info["id"]
        place = NOWHERE

        def compose(records: Records) -> Changes:
            nonlocal place
            place = place_of(records, item_id)._replace(shape=None)
            return dict.fromkeys(delete(records, item_id))

        entry_id = await self._writer.write(grant.board, compose)
        self._announce(entry_id, grant, place)
        return web.Response(status=204, headers=_headers(entry_id))

    async def _write(
        self,
        grant: Grant,
        item_id: str,
        compose: Callable[[Records, Asset | None], Changes],
        *,
        status: int = 200,
        created_by: str | None = None,
    ) -> web.Response:
        """Change the board; answer with the item as this write left it, whatever others do to it by then."""
        left: dict[str, Any] = {}
        place = NOWHERE

        def compose_and_read(records: Records, uploaded: Asset | None = None) -> Changes:
            nonlocal place
            changes = compose(records, uploaded)
            after = {**records, **changes}
            left.update(decompose(after, item_id))
            place = place_of(after, item_id)
            return changes

        try:
            entry_id = await self._writer.write(grant.board, compose_and_read)
        except UnknownAsset as unknown:
            uploaded = await self._assets.find(grant.board, unknown.asset_id)
            if uploaded is None:
                raise
            entry_id = await self._writer.write(grant.board, partial(compose_and_read, uploaded=uploaded))
        self._announce(entry_id, grant, place, created_by)
        return web.json_response(left, status=status, headers=_headers(entry_id))

    def _announce(self, entry_id: EntryId | None, grant: Grant, place: Place, created_by: str | None = None) -> None:
        """Let people see who has written, if anything was."""
        if entry_id is not None:
            self._agents.wrote(grant.board, name_of(created_by, grant.label), place)


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
