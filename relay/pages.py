"""The canvas for browsers: one page for every address that people see, and the hashed files that it is made of.

The build's files are below `/canvas/` and have their hash in their names, so they may be kept for ever; the page that
names them is asked for again every time. What a browser may load and where it may connect to is said with each answer.
"""

import re
from pathlib import Path

from aiohttp import web

from boardlog.errors import InvalidBoardId
from boardlog.ids import parse_board_id

BUILT = Path(__file__).parent / "canvas"
"""Where `make canvas` and the wheel put it."""

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# What a slim container's own tables lack; with `nosniff` a wrong type is not corrected by anybody.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


class Pages:
    """Serves a build of the canvas."""

    def __init__(self, built: Path) -> None:
        """Serve what is in `built`: `index.html`, and everything else in a folder `canvas`."""
        self._index = built / "index.html"
        self._files = (built / "canvas").resolve()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes `/`, `/boards/{board}` and `/canvas/…`."""
        return [
            web.get("/", self.page),
            web.get("/boards/{board}", self.board_page),
            web.get("/canvas/{path:.+}", self.file),
        ]

    async def board_page(self, request: web.Request) -> web.StreamResponse:
        """Serve the page of any board that can be: whether it exists and who may see it, its socket tells."""
        try:
            parse_board_id(request.match_info["board"])
        except InvalidBoardId as error:
            return _plain(request, 404, str(error))
        return await self.page(request)

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Serve the page."""
        if not self._index.is_file():
            return _plain(
                request, 503, "The canvas was not built here. Build it with `make canvas`, then reload this page."
            )
        return _file(request, self._index, "no-cache")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Serve one file of the build, compressed as it was built where the browser takes that."""
        try:
            path = (self._files / request.match_info["path"]).resolve()
            is_ours = path.is_relative_to(self._files) and path.is_file()
        except (OSError, ValueError):  # a name too long, or one with a zero byte
            is_ours = False
        if not is_ours:
            return _plain(
                request, 404, "There is no such file: a newer canvas may have taken its place. Reload the page."
            )
        return _file(request, path, "public, max-age=31536000, immutable")


def _file(request: web.Request, path: Path, cache_control: str) -> web.FileResponse:
    headers = {**_headers(request), "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    if path.suffix in _TYPES:
        headers["Content-Type"] = _TYPES[path.suffix]
    return web.FileResponse(path, headers=headers)


def _plain(request: web.Request, status: int, text: str) -> web.Response:
    headers = {**_headers(request), "Cache-Control": "no-store"}
    return web.Response(status=status, text=text + "\n", headers=headers)


def _headers(request: web.Request) -> dict[str, str]:
    return {**_HEADERS, "Content-Security-Policy": _policy(request.host)}


def _policy(host: str) -> str:
    """Return what the page may load and where it may connect to.

    Its WebSockets are named beside 'self', which Safari took for HTTP alone until 2022.
    """
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""  # clients write this header
    return (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob: https:; "
        f"font-src 'self' data: blob:; connect-src 'self'{sockets} data: blob:; worker-src 'self' blob:; "
        "media-src 'self' data: blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
