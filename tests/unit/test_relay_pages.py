"""What browsers are given: the page for every address, the files it names, and what both may do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from boardlog.arrivals import Arrivals
from relay.app import _routes
from relay.endpoints import Doors
from relay.pages import Pages
from relay.settings import RelaySettings

PAGE, SCRIPT, SECRET = "<!doctype html><title>Board</title>", "console.log(1)", "a key"
FOR_EVER = "public, max-age=31536000, immutable"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A small build, as `make canvas` lays it out, and a file beside it that is nobody's business."""
    files = tmp_path / "built" / "canvas"
    files.mkdir(parents=True)
    (tmp_path / "built" / "index.html").write_text(PAGE)
    (files / "index-Abc123.js").write_text(SCRIPT)
    (files / "index-Abc123.js.br").write_bytes(b"brotli")
    (files / "index-Abc123.js.gz").write_bytes(b"gzip")
    (files / "draw-Abc123.woff2").write_bytes(b"font")
    (files / "folder").mkdir()
    (files / "folder" / "icon-Abc123.svg").write_text("<svg/>")
    (files / "link.js").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text(SECRET)
    return tmp_path / "built"


@pytest.fixture
async def browser(built: Path) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A browser on a relay that serves this build."""
    settings = RelaySettings(redis_url="redis://nowhere", database_url="postgresql://nowhere")
    doors = Doors(settings, None, None, None, None, None)  # type: ignore[arg-type]  nobody passes them here
    app = _routes(doors, {}, None, Pages(built), Arrivals())
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/boards/demo", "/boards/A_b-9"])
async def test_the_page_is_the_same_at_every_address_and_never_stale(browser, path) -> None:
    answer = await browser.get(path)
    assert (answer.status, await answer.text()) == (200, PAGE)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    again = await browser.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.text()) == (304, "")
    again = await browser.get(path, headers={"If-Modified-Since": answer.headers["Last-Modified"]})
    assert again.status == 304


@pytest.mark.parametrize("board", ["no.board", "x" * 65, "%2e%2e", "a%2fb", "%00", "%C3%A4"])
async def test_an_address_that_can_be_no_board_is_not_found(browser, board) -> None:
    answer = await browser.get(URL(f"/boards/{board}", encoded=True))
    assert answer.status == 404
    assert answer.content_type == "text/plain"
    assert "board id" in await answer.text()


async def test_a_built_file_may_be_kept_for_ever(browser) -> None:
    answer = await browser.get("/canvas/index-Abc123.js", headers={"Accept-Encoding": "identity"})
    assert (answer.status, await answer.text()) == (200, SCRIPT)
    assert answer.headers["Cache-Control"] == FOR_EVER
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [("gzip, deflate, br, zstd", "br", b"brotli"), ("gzip, deflate", "gzip", b"gzip"), ("", None, SCRIPT.encode())],
)
async def test_a_file_goes_out_compressed_as_it_was_built(browser, accepted, encoding, body) -> None:
    answer = await browser.get("/canvas/index-Abc123.js", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == encoding
    assert await answer.read() == body
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    ("path", "content_type"), [("draw-Abc123.woff2", "font/woff2"), ("folder/icon-Abc123.svg", "image/svg+xml")]
)
async def test_files_have_the_type_that_nobody_may_guess(browser, path, content_type) -> None:
    answer = await browser.get(f"/canvas/{path}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize(
    "path",
    [
        "index-Old999.js",
        "folder",
        "folder/",
        "..%2findex.html",
        "..%2f..%2fsecret.txt",
        "%2e%2e%2f%2e%2e%2fsecret.txt",
        "..%5c..%5csecret.txt",
        "%2fetc%2fpasswd",
        "folder%2f..%2f..%2findex.html",
        "link.js",
        "index-Abc123.js%00",
        "x" * 5000,
    ],
)
async def test_nothing_else_is_served_and_what_is_missing_may_come(browser, path) -> None:
    """A file may be missing only while nodes are being replaced: that must not be remembered."""
    answer = await browser.get(URL(f"/canvas/{path}", encoded=True))
    assert answer.status == 404
    assert answer.headers["Cache-Control"] == "no-store"
    text = await answer.text()
    assert text.count("\n") == 1
    assert SECRET not in text
    assert "Abc123" not in text


@pytest.mark.parametrize("path", ["/", "/boards/demo", "/boards/no.board", "/canvas/index-Abc123.js", "/canvas/none"])
async def test_every_answer_says_what_the_page_may_do(browser, path) -> None:
    answer = await browser.get(path, headers={"Host": "boards.example:8443"})
    headers = answer.headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    sources = policy["connect-src"].split()
    assert sources == ["'self'", "ws://boards.example:8443", "wss://boards.example:8443", "data:", "blob:"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "a,b", "[::1]:8080", "x" * 300])
async def test_a_host_that_is_no_name_gets_into_no_policy(browser, host) -> None:
    policy = (await browser.get("/", headers={"Host": host})).headers["Content-Security-Policy"]
    assert "connect-src 'self' data: blob:;" in policy
    assert "*" not in policy


@pytest.mark.parametrize("path", ["/", "/boards/demo"])
async def test_where_the_canvas_was_not_built_the_answer_says_how(browser, built, path) -> None:
    (built / "index.html").unlink()
    answer = await browser.get(path)
    assert (answer.status, answer.content_type) == (503, "text/plain")
    assert "`make canvas`" in await answer.text()
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/demo", "/ws/demo", "/canvas", "/boards"])
async def test_a_socket_address_still_asks_for_a_websocket_client(browser, path) -> None:
    answer = await browser.get(path)
    assert answer.status == 426
    assert "WebSocket" in await answer.text()


async def test_pages_are_only_read(browser) -> None:
    assert (await browser.head("/boards/demo")).status == 200
    for method in ("POST", "PUT", "DELETE"):
        assert (await browser.request(method, "/boards/demo")).status == 405
        assert (await browser.request(method, "/canvas/index-Abc123.js")).status == 405


async def test_no_folder_is_listed(browser) -> None:
    assert (await browser.get("/canvas/")).status == 404
