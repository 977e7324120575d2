"""What every service answers about itself over HTTP: /health, /ready, /metrics. None of them asks for a key."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from boardlog.errors import StorageUnavailable
from boardlog.telemetry import metrics_page

READY_SECONDS_MAX = 3.0
"""A store that takes longer to answer counts as away."""


def health_routes(
    checks: Mapping[str, Callable[[], Awaitable[None]]], describe: Callable[[], dict[str, object]]
) -> list[web.RouteDef]:
    """Return the routes /health, /ready and /metrics.

    `checks` names what the service cannot work without: a check returns, or raises StorageUnavailable. `describe` adds
    to /health. Only /ready runs the checks: a service must not be restarted because a store is away (G5).
    """

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", **describe()})

    async def ready(_: web.Request) -> web.Response:
        reasons = await asyncio.gather(*(_reason_against(name, check) for name, check in checks.items()))
        against = [reason for reason in reasons if reason]
        if against:
            return web.json_response({"status": "unavailable", "reason": " ".join(against)}, status=503)
        return web.json_response({"status": "ready"})

    async def metrics(_: web.Request) -> web.Response:
        body, content_type = metrics_page()
        return web.Response(body=body, headers={"Content-Type": content_type})

    return [web.get("/health", health), web.get("/ready", ready), web.get("/metrics", metrics)]


async def _reason_against(name: str, check: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await check()
    except TimeoutError:
        return f"The {name} did not answer within {READY_SECONDS_MAX:g} s."
    except StorageUnavailable as error:
        return str(error)
    return None
