"""`/openapi.json`, made from the models that validate, and `/docs`, a page that asks no other host."""

import json
from importlib.resources import files
from typing import Any

from aiohttp import web

from bridge.items import ITEM

_REF = "#/components/schemas/{model}"


def documentation_routes() -> list[web.RouteDef]:
    """Return the routes of the two pages."""
    described = json.dumps(describe())
    page = files("bridge").joinpath("docs.html").read_text("utf-8")

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(text=described, content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    return [web.get("/openapi.json", openapi), web.get("/docs", docs)]


def describe() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description."""
    item = ITEM.json_schema(ref_template=_REF)
    schemas = {**item.pop("$defs", {}), "Item": item, "Error": _ERROR}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Board items",
            "version": "1",
            "description": "Agents put items on tldraw boards and read what is there. Positions are in page "
            "coordinates; an item that people have moved or typed into is read as it stands now.",
        },
        "security": [{"key": []}, {"bearer": []}],
        "paths": {
            "/v1/boards/{board}/items": {
                "parameters": [_parameter("board")],
                "get": _operation("List every item on the board", "200", _LIST),
                "post": _operation("Put an item on the board", "201", _ITEM, body="application/json", more=("409",)),
            },
            "/v1/boards/{board}/items/{id}": {
                "parameters": [_parameter("board"), _parameter("id")],
                "get": _operation("Read an item", "200", _ITEM),
                "patch": _operation("Change an item", "200", _ITEM, body="application/merge-patch+json"),
                "delete": _operation("Take an item off the board, with what is inside it", "204", None),
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


_ITEM = {"$ref": _REF.format(model="Item")}
_LIST = {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": _ITEM}}}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string", "description": "One sentence: what is wrong, and what to do."},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_STATUSES = {
    "401": "No key, or one that is not known",
    "403": "A key for another board, or a viewer's",
    "404": "No such board or item",
    "409": "An item of this id is there already",
    "413": "The body is too large",
    "422": "Something in the body is wrong; `fields` names it",
    "503": "Storage is away: try again",
}


def _parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"} if name == "board" else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(
    summary: str, status: str, schema: dict[str, Any] | None, *, body: str = "", more: tuple[str, ...] = ()
) -> dict[str, Any]:
    statuses = {"401", "403", "404", "503", *more, *(("413", "422") if body else ())}
    error = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    success: dict[str, Any] = {"description": "Done"}
    if schema is not None:
        success["content"] = {"application/json": {"schema": schema}}
    described: dict[str, Any] = {
        "summary": summary,
        "responses": {status: success}
        | {code: {"description": _STATUSES[code], "content": error} for code in sorted(statuses)},
    }
    if body:
        part = {"type": "object"} if "merge-patch" in body else _ITEM
        described["requestBody"] = {"required": True, "content": {body: {"schema": part}}}
    return described
