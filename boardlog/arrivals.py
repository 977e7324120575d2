"""Connections to a service's port: each has to ask for something soon after it was made (G7)."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

REQUEST_SECONDS_MAX = 10.0
"""From a connection until its first request has arrived, its body aside. The server itself would wait for ever."""


class Arrivals:
    """The connections that have not asked for anything yet."""

    def __init__(self, seconds_max: float = REQUEST_SECONDS_MAX) -> None:
        """Cut connections off that take longer."""
        self._seconds_max = seconds_max
        self._silent: set[web.RequestHandler] = set()

    def watched(self, runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
        """Return the factory of protocols for a listening socket. `runner` has been set up."""
        server = runner.server
        if server is None:
            raise RuntimeError("the runner was not set up")

        def watched() -> asyncio.BaseProtocol:
            protocol = server()
            self._silent.add(protocol)
            asyncio.get_running_loop().call_later(self._seconds_max, self._cut, protocol)
            return protocol

        return watched

    @property
    def middleware(self) -> Middleware:
        """What tells of requests: the outermost middleware of the application."""

        @web.middleware
        async def arrived(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._silent.discard(request.protocol)
            return await handler(request)

        return arrived

    def _cut(self, protocol: web.RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()
