"""The relay's doors: the WebSocket upgrade, and who may pass."""

import asyncio
import base64
import random
from collections import OrderedDict
from collections.abc import Callable

import structlog
from aiohttp import web
from prometheus_client import Counter, Gauge

from boardlog.access import Access, hash_key, key_from
from boardlog.appender import Appender
from boardlog.errors import BoardLogError, BoardNotFound, InvalidBoardId
from boardlog.grant import Forbidden, Grant, Unauthenticated
from boardlog.ids import BoardId, parse_board_id
from boardlog.leaving import Leaving, Left
from boardlog.snapshots import Snapshots
from boardlog.telemetry import METRICS
from boardlog.validating import Validator
from relay.connection import Connection, Limits, age_limit_seconds
from relay.hub import Hub
from relay.outbox import Outboxes
from relay.refusal import Refusal
from relay.room import Room, close_for
from relay.session import CloseCode, Session
from relay.settings import RelaySettings
from relay.socket import Socket

log = structlog.get_logger()

REFUSED_HOLD_SECONDS = 5.0
"""Who comes back at once after a refusal is held this long: old clients know no final code and retry every 100 ms."""
REFUSED_HELD_MAX = 1000
"""Refused sockets held at a time; the others are closed at once."""
REFUSALS_REMEMBERED_MAX = 10_000
SUBPROTOCOL = "board-relay"
"""What a client offers, and is answered, that brings its key as a further subprotocol (`key_of`)."""
KEY_SUBPROTOCOL = "key."
SUBPROTOCOL_HEADER = "Sec-WebSocket-Protocol"

CONNECTIONS = Gauge("relay_connections", "Open WebSockets", registry=METRICS)
REFUSED = Counter("relay_refused_total", "WebSockets refused, by close code", ["code"], registry=METRICS)


class Doors:
    """Accepts WebSockets, verifies their keys and serves them."""

    def __init__(
        self,
        settings: RelaySettings,
        access: Access,
        hub: Hub,
        appender: Appender,
        validator: Validator,
        snapshots: Snapshots,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Let clients into the rooms of `hub`."""
        self.connections: dict[Connection, None] = {}
        self._is_leaving = False
        self._joining = Leaving()
        self._jitter = jitter
        self._settings = settings
        self._access = access
        self._hub = hub
        self._appender = appender
        self._validator = validator
        self._outboxes = Outboxes(settings)
        self._snapshots = snapshots
        self._refusals: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._held = 0

    def describe(self) -> dict[str, object]:
        """Return what /health says beside its status."""
        return {"node": self._settings.name, "rooms": len(self._hub), "connections": len(self.connections)}

    def leave(self, seconds: float) -> None:
        """Let nobody in any more; those who wait for a board are sent away, spread over this time."""
        self._is_leaving = True
        self._joining.end(0.0, spread_seconds=seconds)

    async def left(self) -> None:
        """Wait until nobody waits for a board any more. Cancel-safe."""
        await self._joining.ended()

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        """Serve `/ws/{board}` and `/{board}`.

        Every refusal is a close code: browsers cannot see the HTTP status of a refused upgrade.
        """
        socket = Socket(request, _subprotocols(request)[:1])
        await socket.open()
        try:
            async with self._joining.work():
                grant, room = await self._enter(request)
        except BoardLogError as error:
            await self._refuse(request, socket, *_refusal(error))
            return socket
        try:
            await self._serve(socket, grant, room)
        finally:
            self._hub.leave(room)
        return socket

    async def _enter(self, request: web.Request) -> tuple[Grant, Room]:
        """Return the grant and the room, joined; raises whatever stands in the way."""
        if self._is_leaving:
            raise _left()
        if len(self.connections) >= self._settings.connections_max:
            raise _Full("This node is full: try again.")
        board = parse_board_id(request.match_info["board"])
        grant = await self._access.grant(key_of(request), board)
        return grant, await self._join(grant, board)

    async def _join(self, grant: Grant, board: BoardId) -> Room:
        try:
            return await self._hub.join(board)
        except BoardNotFound:
            if not grant.can_create:
                raise
        await self._snapshots.create(board)
        return await self._hub.join(board)

    async def _serve(self, socket: Socket, grant: Grant, room: Room) -> None:
        if socket.is_gone:
            return
        if self._is_leaving:
            await Refusal(socket).close(CloseCode.GOING_AWAY, str(_left()))
            return
        connection = Connection(
            socket,
            Session(grant),
            self._appender,
            self._validator,
            self._outboxes,
            Limits(
                self._settings.board_bytes_max,
                self._settings.heartbeat_seconds,
                age_limit_seconds(self._settings.connection_age_seconds, self._jitter),
            ),
        )
        self.connections[connection] = None
        CONNECTIONS.set(len(self.connections))
        try:
            await connection.serve(room)
        finally:
            del self.connections[connection]
            CONNECTIONS.set(len(self.connections))

    async def _refuse(self, request: web.Request, socket: Socket, code: CloseCode, reason: str) -> None:
        """Close with a code. One that was refused moments ago is held first, so that it cannot hammer the node."""
        REFUSED.labels(int(code)).inc()
        log.info("refused", code=int(code), board=request.match_info["board"][:64], reason=reason)
        refusal = Refusal(socket)
        if self._refused_lately(request) and self._held < REFUSED_HELD_MAX:
            self._held += 1
            try:
                await refusal.hold(REFUSED_HOLD_SECONDS)
            finally:
                self._held -= 1
        await refusal.close(code, reason)

    def _refused_lately(self, request: web.Request) -> bool:
        """Note a refusal; say whether the same peer met one on this board within the hold time."""
        now = asyncio.get_running_loop().time()
        # Behind a load balancer every peer has its address: the key tells them apart, as far as they have one.
        who = (hash_key(key_of(request) or request.remote or ""), request.match_info["board"][:64])
        earlier = self._refusals.pop(who, float("-inf"))
        self._refusals[who] = now
        if len(self._refusals) > REFUSALS_REMEMBERED_MAX:
            self._refusals.popitem(last=False)
        return now - earlier < REFUSED_HOLD_SECONDS * 2


def _left() -> Left:
    return Left("This node is shutting down: another one takes over.")


class _Full(BoardLogError):
    """The node has as many connections as it takes."""


def key_of(request: web.Request) -> str | None:
    """Return the API key of a request: in `?apiKey=`, in a header, or in a subprotocol `key.` + base64url of the key.

    A browser can set the first and the last: the subprotocol is in no URL, and so in no access log.
    """
    return request.query.get("apiKey") or key_from(request.headers) or _key_from_subprotocol(request)


def _key_from_subprotocol(request: web.Request) -> str | None:
    for offered in _subprotocols(request):
        if offered.startswith(KEY_SUBPROTOCOL):
            encoded = offered.removeprefix(KEY_SUBPROTOCOL)
            try:
                return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
            except ValueError:
                return None
    return None


def _subprotocols(request: web.Request) -> list[str]:
    """Return what a client offers, ours first: it is answered with the first, or a browser would hang up."""
    offered = [name.strip() for name in request.headers.get(SUBPROTOCOL_HEADER, "").split(",")]
    return sorted(filter(None, offered), key=lambda name: name != SUBPROTOCOL)


def _refusal(error: BoardLogError) -> tuple[CloseCode, str]:
    match error:
        case Unauthenticated():
            return CloseCode.UNAUTHENTICATED, str(error)
        case Forbidden():
            return CloseCode.FORBIDDEN, str(error)
        case InvalidBoardId():
            return CloseCode.NO_SUCH_BOARD, str(error)
        case Left():
            return CloseCode.GOING_AWAY, str(error)
        case _Full():
            return CloseCode.TRY_AGAIN, str(error)
        case _:
            return close_for(error)
