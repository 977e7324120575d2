"""`/openapi.json`, made from the models that validate, and `/docs`, a page that asks no other host."""

import json
from importlib.resources import files
from typing import Any

from aiohttp import web

from bridge.asset_endpoints import ASSET_BYTES_MAX
from bridge.items import ITEM, RECORD_NAME
from bridge.pictures import MIME_TYPES

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
    schemas = {**item.pop("$defs", {}), "Item": item, "Asset": _ASSET, "Error": _ERROR}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Board items and assets",
            "version": "1",
            "description": "Agents put items on tldraw boards and read what is there. Positions are in page "
            "coordinates; an item that people have moved or typed into is read as it stands now. Pictures "
            "are uploaded as assets, which images show by their id.",
        },
        "security": [{"key": []}, {"bearer": []}],
        "paths": {
            "/v1/boards/{board}/items": {
                "parameters": [_parameter("board", _ID)],
                "get": _operation("List every item on the board", "200", _LIST),
                "post": _operation("Put an item on the board", "201", _ITEM, body="application/json", more=("409",)),
            },
            "/v1/boards/{board}/items/{id}": {
                "parameters": [_parameter("board", _ID), _parameter("id", {"type": "string"})],
                "get": _operation("Read an item", "200", _ITEM),
                "patch": _operation("Change an item", "200", _ITEM, body="application/merge-patch+json"),
                "delete": _operation("Take an item off the board, with what is inside it", "204", None),
            },
            "/v1/boards/{board}/assets/{id}": {
                "parameters": [_parameter("board", _ID), _parameter("id", _ID)],
                "get": _operation("Read an uploaded picture", "200", None) | {"responses": _picture_responses()},
                "put": _upload(),
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
_ASSET = {
    "type": "object",
    "required": ["id", "url", "mime_type", "width", "height", "size_bytes"],
    "properties": {
        "id": {"type": "string"},
        "url": {"type": "string", "description": "Where it is read, with a key of the board."},
        "mime_type": {"enum": MIME_TYPES},
        "width": {"type": "integer", "description": "In pixels, as it is shown."},
        "height": {"type": "integer"},
        "size_bytes": {"type": "integer"},
    },
}
_STATUSES = {
    "401": "No key, or one that is not known",
    "403": "A key for another board, or a viewer's",
    "404": "No such board, item or asset",
    "408": "The upload took too long",
    "409": "An item of this id is there already",
    "413": "The body is too large",
    "415": "This is no picture of a kind that is taken",
    "422": "Something in the body is wrong; of JSON, `fields` names it",
    "503": "Storage is away: try again",
}


_ID = {"type": "string", "pattern": f"^{RECORD_NAME.pattern}$"}


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _upload() -> dict[str, Any]:
    """Return the description of an upload: bytes in, what they are out."""
    asset = {"application/json": {"schema": {"$ref": _REF.format(model="Asset")}}}
    described = _operation(
        "Upload a picture, which never changes then", "201", None, more=("408", "409", "413", "415", "422")
    )
    described["responses"] |= {
        "200": {"description": "The board has these bytes under this id already", "content": asset},
        "201": {"description": "Done", "content": asset},
        "409": described["responses"]["409"] | {"description": "An asset of this id has other bytes"},
        "413": described["responses"]["413"]
        | {"description": f"More than {ASSET_BYTES_MAX} bytes, or no room left on this board"},
    }
    body = {"description": f"At most {ASSET_BYTES_MAX} bytes; what they are is told by themselves, not by a header."}
    described["requestBody"] = body | {"required": True, "content": _PICTURES}
    return described


def _picture_responses() -> dict[str, Any]:
    read: dict[str, Any] = _operation("", "200", None)["responses"]
    headers = {name: {"schema": {"type": "string"}} for name in ("ETag", "Cache-Control")}
    return read | {
        "200": {"description": "Its bytes", "content": _PICTURES, "headers": headers},
        "304": {"description": "The bytes of the ETag in If-None-Match are its own"},
    }


_PICTURES = {mime_type: {"schema": {"type": "string", "format": "binary"}} for mime_type in MIME_TYPES}


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
