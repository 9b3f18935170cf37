"""Whether the operator is well, over HTTP, for the kubelet: of the copy that acts and of the one that waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

__all__ = ["telling"]


@asynccontextmanager
async def telling(host: str, port: int, trouble: Callable[[], str]) -> AsyncIterator[int]:
    """Answer `GET /healthz` meanwhile: 200, or 503 with the trouble. Gives the port."""

    async def health(_request: web.Request) -> web.Response:
        found = trouble()
        return web.Response(text=f"{found or 'well'}\n", status=503 if found else 200)

    app = web.Application(client_max_size=1_024)
    app.router.add_get("/healthz", health)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
