"""Abuse of real relays and bridges over raw TCP: they stay up, forget it all, and go on serving everyone else (G6)."""

import asyncio
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from tests.clientframes import client_frame
from tests.fuzz.seeds import again, seeds
from tests.services import Service, System, system
from tests.stockclient import StockClients

KEPT_SEEDS = (1,)
ROUNDS = 4
ABUSERS = 60
"""At once, in each round."""
ANSWER_SECONDS_MAX = 8.0
GROWTH_BYTES_MAX = 48 * 1024 * 1024
"""What a process may have grown by between the first round, which warms it up, and the last."""

OF_THE_HTTP_SERVER = (
    "aiohttp.http_exceptions.BadHttpMessage",
    "aiohttp.http_exceptions.LineTooLong",
    "aiohttp.http_exceptions.TransferEncodingError",
    "aiohttp.http_exceptions.BadStatusLine",
    "aiohttp.http_exceptions.InvalidHeader",
)
"""aiohttp logs these as errors of its own before any code of ours has seen the request."""

UNANSWERED = -1
HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture
async def world(redis_url: str, database: str, redis_key_prefix: str, tmp_path: Path) -> AsyncIterator[System]:
    async with system(redis_url, database, redis_key_prefix, tmp_path) as made:
        yield made


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return client_frame(struct.pack(">H", code) + reason, opcode=8)


AFTER_UPGRADE: dict[str, tuple[Callable[[random.Random], bytes], set[int]]] = {
    "a frame cut anywhere": (lambda c: (whole := client_frame(b"\x00\x00\x01\x00"))[: c.randrange(len(whole))], set()),
    "an unmasked frame": (lambda _: client_frame(b"\x00\x00\x01\x00", key=None), {1002}),
    "reserved bits": (lambda c: client_frame(b"\x00", bits=c.choice([0x10, 0x20, 0x40, 0x70])), {1002}),
    "a reserved opcode": (lambda c: client_frame(b"", opcode=c.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])), {1002}),
    "a fragmented ping": (lambda _: client_frame(b"x", opcode=9, final=False), {1002}),
    "a ping of 126 bytes": (lambda _: client_frame(b"x" * 126, opcode=9), {1002}),
    "2^63 bytes announced": (lambda _: client_frame(b"", claim=2**63), {1002, 1009, 4413}),
    "2^62 bytes announced": (lambda _: client_frame(b"", claim=2**62), {1009, 4413}),
    "a gigabyte announced": (lambda _: client_frame(b"x" * 1000, claim=1 << 30), {1009, 4413}),
    "endless continuations": (
        lambda _: client_frame(b"\x00", final=False) + client_frame(b"x" * 100, opcode=0, final=False) * 2000,
        set(),
    ),
    "continuation of nothing": (lambda _: client_frame(b"x", opcode=0), {1002}),
    "two beginnings": (lambda _: client_frame(b"x", final=False) + client_frame(b"x", final=False), {1002}),
    "a flood of pings": (lambda _: client_frame(b"ping", opcode=9) * 5000, set()),
    "a text frame": (lambda _: client_frame(b"hello", opcode=1), {4400}),
    "a text that is not UTF-8": (lambda _: client_frame(b"\xff\xfe", opcode=1), {1007, 4400}),
    "an empty frame": (lambda _: client_frame(b""), {4400}),
    "no message of ours": (lambda _: client_frame(b"\x09\x09\x09"), {4400}),
    "a viewer's change": (lambda _: client_frame(b"\x00\x02\x06\x00\x01\x07\x01\x00\x01"), {4403}),
    "a close without a code": (lambda _: client_frame(b"", opcode=8), {1000, 1005}),
    "a close of one byte": (lambda _: client_frame(b"\x03", opcode=8), {1002}),
    "a close with a bad code": (
        lambda c: close_frame(c.choice([0, 999, 1004, 1005, 1015, 2999])),
        {1002},
    ),
    "a close with broken text": (lambda _: close_frame(1000, b"\xff\xff"), {1007}),
    "noise": (lambda c: c.randbytes(c.randrange(1, 300)), set()),
}
"""What is sent on an open WebSocket, and the codes of which one has to come; none where it may go on or just end."""

INSTEAD_OF_UPGRADE: dict[str, Callable[[random.Random, str], bytes]] = {
    "nothing": lambda _, __: b"",
    "half a handshake": lambda c, path: (whole := HANDSHAKE.format(path=path).encode())[: c.randrange(len(whole))],
    "a header of 100 KB": lambda _, path: f"GET {path} HTTP/1.1\r\nX: {'x' * 100_000}\r\n\r\n".encode(),
    "ten thousand headers": lambda _, path: f"GET {path} HTTP/1.1\r\n".encode() + b"X: y\r\n" * 10_000 + b"\r\n",
    "an address of 100 KB": lambda _, path: f"GET {path}{'a' * 100_000} HTTP/1.1\r\n\r\n".encode(),
    "noise": lambda c, _: c.randbytes(2000),
    "no version": lambda _, path: HANDSHAKE.format(path=path).replace("Version: 13", "Version: 99").encode(),
    "no key": lambda _, path: HANDSHAKE.format(path=path).replace("Sec-WebSocket-Key", "X").encode(),
    "a broken key": lambda _, path: HANDSHAKE.format(path=path).replace("dGhl", "=== ").encode(),
    "a plain GET": lambda _, path: f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode(),
    "a body": lambda _, path: f"POST {path} HTTP/1.1\r\nHost: r\r\nContent-Length: 99999999\r\n\r\nxx".encode(),
    "chunks": lambda _, path: (
        f"POST {path} HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\nx".encode()
    ),
    "two lengths": lambda _, p: (
        f"POST {p} HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".encode()
    ),
    "TLS": lambda _, __: bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
}


async def close_code(reader: asyncio.StreamReader) -> int | None:
    """Return the code with which the server closes; None if it just ends, 1005 if it has no code."""
    while True:
        first, second = await reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
        payload = await reader.readexactly(size)
        if first & 0x0F == 8:
            return int.from_bytes(payload[:2], "big") if size >= 2 else 1005


async def abuse_socket(service: Service, path: str, sent: bytes, *, must_close: bool) -> int | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        writer.write(HANDSHAKE.format(path=path).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head[:100]
        writer.write(sent)
        if not must_close:
            await asyncio.sleep(0)
            return None
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            return await close_code(reader)
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    except TimeoutError:
        return UNANSWERED
    finally:
        writer.close()


async def abuse_http(service: Service, sent: bytes) -> None:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(sent)
        try:
            async with asyncio.timeout(0.3):  # long enough for an answer; who sends nothing gets none
                await reader.read(4096)
        except TimeoutError:
            pass
        writer.close()
    except ConnectionError:
        pass


def rss_bytes(service: Service) -> int:
    for line in Path(f"/proc/{service.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def in_rounds(service: Service, abuse: Callable[[], list[Awaitable[object]]]) -> None:
    """Let abusers come in rounds; the process must not grow."""
    before = rss_bytes(service)
    after_first = 0
    for _ in range(ROUNDS):
        await asyncio.gather(*abuse())
        after_first = after_first or rss_bytes(service)
    print(
        f"{service.name}: {before >> 20} MiB before, {after_first >> 20} after one round, "
        f"{rss_bytes(service) >> 20} at the end"
    )
    assert rss_bytes(service) - after_first < GROWTH_BYTES_MAX


def assert_healthy(service: Service) -> None:
    assert service.process.returncode is None
    tracebacks = service.log.read_text().split("Traceback (most recent call last):")[1:]
    ours = [text for text in tracebacks if not any(name in text for name in OF_THE_HTTP_SERVER)]
    print(f"{service.name}: {len(tracebacks)} tracebacks of the HTTP server itself")
    assert not ours, ours[0][:3000]


@pytest.mark.parametrize("seed", seeds(KEPT_SEEDS))
async def test_G6_abuse_of_a_relay_costs_only_the_abuser(world, seed: int) -> None:
    chance = random.Random(seed)
    relay = await world.start("relay")
    path = f"/ws/{world.board}?apiKey={world.viewer_key}"
    codes: Counter[str] = Counter()
    wrong: list[str] = []

    async def on_socket(name: str) -> None:
        make, expected = AFTER_UPGRADE[name]
        code = await abuse_socket(relay, path, make(chance), must_close=bool(expected))
        codes[f"{name}: {code}"] += 1
        if expected and code not in expected:
            wrong.append(f"{name}: {code}, not {expected}")

    def abuse() -> list[Awaitable[object]]:
        sockets = [on_socket(name) for name in [*AFTER_UPGRADE, *chance.choices(list(AFTER_UPGRADE), k=ABUSERS)]]
        upgrades = chance.choices(list(INSTEAD_OF_UPGRADE), k=ABUSERS)
        return [*sockets, *(abuse_http(relay, INSTEAD_OF_UPGRADE[name](chance, path)) for name in upgrades)]

    async with StockClients() as clients:
        a, b = [await clients.open(relay.ws, world.board, key=world.editor_key) for _ in range(2)]
        await asyncio.gather(a.wait_synced(), b.wait_synced())
        await asyncio.gather(
            in_rounds(relay, abuse), a.set_many(200, "a", per_turn=5), b.set_many(200, "b", per_turn=5)
        )
        await clients.converged(a, b, count=400, seconds_max=30)
        assert (await a.state()).closes == []
    print("\n".join(f"{count:4} {line}" for line, count in sorted(codes.items())))
    assert not wrong, f"{sorted(set(wrong))} Again: {again(seed, __name__)}"
    assert_healthy(relay)


async def test_G6_a_thousand_connects_without_an_upgrade_are_forgotten(world) -> None:
    relay = await world.start("relay")
    path = f"/ws/{world.board}?apiKey={world.viewer_key}"
    chance = random.Random(1)
    await in_rounds(
        relay, lambda: [abuse_http(relay, INSTEAD_OF_UPGRADE["half a handshake"](chance, path)) for _ in range(300)]
    )
    async with aiohttp.ClientSession() as http, http.get(f"{relay.url}/ready") as answer:
        assert answer.status == 200
    assert_healthy(relay)


BOMBS: dict[str, bytes] = {
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 90_000,
    "a long number": b'{"x":' + b"9" * 400_000 + b"}",
    "many keys": b"{" + b",".join(b'"k%d":1' % n for n in range(30_000)) + b"}",
    "half of it": b'{"type":"sticky","x":1',
    "not UTF-8": b'{"type":"\xff\xfe"}',
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"type":"sticky"}'.encode("utf-16"),
    "half a pair": b'{"type":"sticky","x":1,"y":2,"content":{"text":"\\ud800"}}',
    "not finite": b'{"type":"sticky","x":1e999,"y":NaN}',
    "nothing": b"",
    "a null character": b'{"type":"sticky","x":1,"y":2,"content":{"text":"\\u0000"}}',
}


@pytest.mark.parametrize("seed", seeds(KEPT_SEEDS))
async def test_G6_abuse_of_a_bridge_is_answered_and_forgotten(world, seed: int) -> None:
    chance = random.Random(seed)
    bridge = await world.start("bridge")
    path, headers = f"/v1/boards/{world.board}/items", {"X-API-Key": world.editor_key}
    statuses: Counter[str] = Counter()
    async with aiohttp.ClientSession() as http:

        async def bomb(name: str, method: str, where: str) -> None:
            async with http.request(method, bridge.url + where, data=BOMBS[name], headers=headers) as answer:
                await answer.read()
                statuses[f"{name}: {answer.status}"] += 1
                assert answer.status < 500, f"{name}: {answer.status} {await answer.text()}"

        def abuse() -> list[Awaitable[object]]:
            raw = chance.choices(list(INSTEAD_OF_UPGRADE), k=ABUSERS)
            bombs = [bomb(name, "POST", path) for name in BOMBS] + [
                bomb(name, "PATCH", f"{path}/one") for name in BOMBS
            ]
            return [*bombs, *(abuse_http(bridge, INSTEAD_OF_UPGRADE[name](chance, path)) for name in raw)]

        await in_rounds(bridge, abuse)
        note = {"type": "sticky", "x": 1, "y": 2, "content": {"text": "Still here"}}
        async with http.post(bridge.url + path, json=note, headers=headers) as answer:
            assert answer.status == 201
    print("\n".join(f"{count:4} {line}" for line, count in sorted(statuses.items())))
    assert_healthy(bridge)
