"""Stock `y-websocket` clients for tests: one Node process hosts any number of them and is commanded from here.

The providers are the published packages, unchanged; `tests/clients/` pins them. Conditions are awaited where they come
true, in Node, after every change of a client; nothing polls.
"""

import asyncio
import itertools
import json
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

WAIT_SECONDS_MAX = 10.0
"""How long a condition may take before the test fails, unless the test says otherwise."""
ANSWER_SECONDS_MAX = 10.0
"""How long Node may take to answer beyond the time of the condition: it is busy or stuck then."""
EXIT_SECONDS_MAX = 3.0
"""How long Node may take to end once its standard input did; then it is killed."""
LINE_BYTES_MAX = 64 << 20
"""The longest answer, a dump of a large board."""

Version = Literal["3", "2"]
Status = Literal["connected", "connecting", "disconnected"]

_CLIENTS = Path(__file__).parent / "clients"
_ANY = object()


class StockClientError(AssertionError):
    """A client did not get where the test expects it, or something went wrong in Node."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something reported unasked in Node: an uncaught error, or a line that a library wrote to the console."""

    client: str | None
    kind: Literal["uncaught", "console.error", "console.warn"]
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """The end of one connection or of an attempt to get one. A local close has no code."""

    code: int | None
    reason: str
    local: bool
    opened: bool
    """Whether the connection was open before; a refused attempt is a 1006 that never was."""
    final: bool
    """Whether y-websocket 3.1 took the code (44xx) as final and reconnects no more."""
    at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class State:
    """What a client knows of itself."""

    client: str
    version: Version
    client_id: int
    url: str
    status: Status
    synced: bool
    syncs: int
    """How many times it became synced: 1 after the first join, 2 after a reconnect."""
    reconnects: bool
    keys: int
    pending: bool
    """Whether it holds updates whose dependencies have not arrived."""
    awareness: int
    """Number of clients with a state, itself included."""
    closes: list[Close]
    connection_errors: list[str]
    state_vector: str
    digest: str
    """Equal in two clients exactly if they hold the same insertions and deletions and show the same records."""


class StockClients:
    """The Node process and its clients, an async context manager.

    Leaving it ends the process and raises StockClientError if Node reported a fault that the test did not take.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._stack = AsyncExitStack()
        self._names = (f"client-{number}" for number in itertools.count(1))
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ended = False
        self._fault_came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.process = await self._stack.enter_async_context(node("driver.mjs"))
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            await self._stack.aclose()
        finally:
            await self._reader
        if kind is None and self.faults:
            raise StockClientError("Node reported faults that the test did not take:" + self._fault_lines())

    async def open(
        self,
        url: str,
        room: str,
        *,
        key: str | None = None,
        params: Mapping[str, str] | None = None,
        protocols: Sequence[str] = (),
        version: Version = "3",
        connect: bool = True,
    ) -> "StockClient":
        """Make a client of `room` at the server `url` (`ws://host:port/ws`, without the room) and let it connect.

        `key` is sent as the parameter `apiKey`. Does not wait for the connection.
        """
        query = dict(params or {}) | ({"apiKey": key} if key is not None else {})
        name = next(self._names)
        client_id = await self.call(
            "open",
            client=name,
            version=version,
            url=url,
            room=room,
            params=query,
            protocols=list(protocols),
            connect=connect,
        )
        return StockClient(self, name, client_id)

    async def converged(
        self, *clients: "StockClient", count: int | None = None, seconds_max: float = WAIT_SECONDS_MAX
    ) -> str:
        """Wait until the clients hold the same, nothing pending (and `count` keys); return their common digest.

        Clients that have not heard of a change are the same too: await what makes the change known first, or `count`.
        """
        names = [client.name for client in clients]
        digest: str = await self.call("waitConverged", seconds_max, clients=names, count=count)
        return digest

    def take_faults(self) -> list[Fault]:
        """Return the faults reported so far and forget them: the test expected them."""
        taken, self.faults = self.faults, []
        return taken

    async def wait_fault(self, text: str, seconds_max: float = WAIT_SECONDS_MAX) -> Fault:
        """Wait until a fault with `text` in it is reported and return it. It is not taken by that."""
        try:
            async with asyncio.timeout(seconds_max):
                while not (found := [fault for fault in self.faults if text in fault.text]):
                    self._fault_came.clear()
                    await self._fault_came.wait()
        except TimeoutError:
            raise StockClientError(f"No fault tells of {text!r} within {seconds_max} s.{self._fault_lines()}") from None
        return found[0]

    async def call(self, command: str, seconds_max: float = 0, **arguments: Any) -> Any:
        """Have the driver run a command, a condition for at most `seconds_max`. Raises StockClientError."""
        number = next(self._ids)
        line = {"id": number, "command": command, "timeout": seconds_max * 1000, **arguments}
        if self._ended:
            raise StockClientError("The Node process has ended; standard error has its last words.")
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self._stdin.write(json.dumps(line).encode() + b"\n")
            async with asyncio.timeout(seconds_max + ANSWER_SECONDS_MAX):
                return await answer
        except TimeoutError:
            raise StockClientError(f"Node does not answer {command}: it is stuck or overloaded.") from None
        except StockClientError as error:
            raise StockClientError(f"{error}{self._fault_lines()}") from None
        finally:
            del self._answers[number]

    @property
    def _stdin(self) -> asyncio.StreamWriter:
        assert self.process.stdin is not None
        return self.process.stdin

    async def _read(self) -> None:
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self._take(json.loads(line))
        finally:
            self._ended = True
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(StockClientError("The Node process ended; standard error has its last words."))

    def _take(self, message: dict[str, Any]) -> None:
        if "fault" in message:
            self.faults.append(Fault(**message["fault"]))
            self._fault_came.set()
            return
        answer = self._answers.get(message["id"])
        if answer is None or answer.done():  # the test gave up on it meanwhile
            return
        if "error" in message:
            answer.set_exception(StockClientError(message["error"]))
        else:
            answer.set_result(message["result"])

    def _fault_lines(self) -> str:
        return "".join(f"\n{fault.kind} ({fault.client or 'no client'}): {fault.text}" for fault in self.faults)


@dataclass(frozen=True, slots=True, eq=False)
class StockClient:
    """One client. Every method is answered by Node and raises StockClientError; waits say what state they found."""

    clients: StockClients
    name: str
    client_id: int
    """Its Yjs client id."""

    async def set(self, key: str, value: Any) -> None:
        """Set one key of the map `tldraw`."""
        await self._call("set", key=key, value=value)

    async def set_many(self, count: int, prefix: str, per_turn: int | None = None) -> None:
        """Set `{prefix}0` to `{prefix}{count - 1}` to `{"by": name, "n": n}`, each in a transaction of its own.

        All in one turn of Node's loop, or `per_turn` in each, so that what arrives meanwhile comes in between.
        """
        await self._call("setMany", count=count, prefix=prefix, perTurn=per_turn)

    async def delete(self, key: str) -> None:
        await self._call("delete", key=key)

    async def get(self, key: str) -> Any:
        """Return a key's value, None without one."""
        return await self._call("get", key=key)

    async def dump(self) -> dict[str, Any]:
        """Return the whole map `tldraw`."""
        records: dict[str, Any] = await self._call("dump")
        return records

    async def state(self) -> State:
        found = await self._call("state")
        found["closes"] = [Close(**close) for close in found["closes"]]
        for name, camel in _CAMEL.items():
            found[name] = found.pop(camel)
        return State(**found)

    async def closes(self) -> list[Close]:
        """Return every close so far, oldest first."""
        return (await self.state()).closes

    async def set_awareness(self, state: Mapping[str, Any] | None) -> None:
        """Replace its own awareness state; None leaves."""
        await self._call("setAwareness", state=state)

    async def set_awareness_field(self, field: str, value: Any) -> None:
        await self._call("setAwarenessField", field=field, value=value)

    async def awareness(self) -> dict[int, Any]:
        """Return all states it knows by client id, its own too."""
        return {int(client): state for client, state in (await self._call("awareness")).items()}

    async def connect(self) -> None:
        await self._call("connect")

    async def disconnect(self) -> None:
        """Close and stay offline until `connect`; edits go on."""
        await self._call("disconnect")

    async def cut(self) -> None:
        """Lose the connection without a close frame; the provider reconnects by itself."""
        await self._call("cut")

    async def move_to(self, url: str) -> None:
        """Make the next connection go to another server, as a load balancer does to a client that reconnects."""
        await self._call("moveTo", url=url)

    async def set_params(self, params: Mapping[str, str]) -> None:
        """Replace the URL's parameters (the key too) from the next connection on."""
        await self._call("setParams", params=params)

    async def destroy(self) -> None:
        """Close for good, as a page that is left."""
        await self._call("destroy")

    async def watch(self, key: str) -> None:
        """Note the time when `key`, which must not be there yet, appears: `wait_seen` gives it."""
        await self._call("watch", key=key)

    async def wait_seen(self, key: str, seconds_max: float = WAIT_SECONDS_MAX) -> float:
        """Return when the watched key appeared, in seconds since 1970, comparable with `time.time()`."""
        return float(await self._call("waitSeen", seconds_max, key=key)) / 1000

    async def wait_synced(self, times: int = 1, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        """Wait until it is synced, having become so at least `times` times.

        A client whose server was just killed is still synced for a moment: await its close, or the next number.
        """
        await self._call("waitSynced", seconds_max, times=times)

    async def wait_status(self, status: Status, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        await self._call("waitStatus", seconds_max, status=status)

    async def wait_closed(
        self, code: int | None = None, times: int = 1, seconds_max: float = WAIT_SECONDS_MAX
    ) -> Close:
        """Wait until a connection closed for the `times`-th time in all (with `code`) and return that close."""
        return Close(**await self._call("waitClosed", seconds_max, code=code, times=times))

    async def wait_key(self, key: str, value: Any = _ANY, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        """Wait until the key is there (and has exactly this JSON value)."""
        wanted = {} if value is _ANY else {"value": value}
        await self._call("waitKey", seconds_max, key=key, **wanted)

    async def wait_absent(self, key: str, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        await self._call("waitAbsent", seconds_max, key=key)

    async def wait_count(self, count: int, seconds_max: float = WAIT_SECONDS_MAX) -> None:
        """Wait until the map has exactly this number of keys."""
        await self._call("waitCount", seconds_max, count=count)

    async def wait_awareness(
        self,
        count: int | None = None,
        match: Mapping[str, Any] | None = None,
        seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        """Wait until exactly `count` clients, itself included, have a state and another one's has all of `match`."""
        await self._call("waitAwareness", seconds_max, count=count, match=match)

    async def _call(self, command: str, seconds_max: float = 0, **arguments: Any) -> Any:
        return await self.clients.call(command, seconds_max, client=self.name, **arguments)


_CAMEL = {"client_id": "clientId", "connection_errors": "connectionErrors", "state_vector": "stateVector"}


@asynccontextmanager
async def node(script: str) -> AsyncIterator[Process]:
    """Run a script of `tests/clients/` that ends with its standard input, and be sure that it is gone afterwards."""
    program = shutil.which("node")
    if program is None or not (_CLIENTS / "node_modules").is_dir():
        raise StockClientError("Stock clients need Node 20 and their packages: run `make test`, which installs them.")
    process = await asyncio.create_subprocess_exec(
        program, str(_CLIENTS / script), stdin=PIPE, stdout=PIPE, limit=LINE_BYTES_MAX
    )
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(EXIT_SECONDS_MAX):
                    await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
