"""Replicas ask for newer route tables, and say what they hold."""

from __future__ import annotations

import asyncio

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from controller.lifting import ahead, lift
from controller.services import Replicating, Services, Used
from serinus.routes import Watched, WatchRequest
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/pools", tags=["data plane"])


@router.post("/{pool}/watch", response_model=Watched)
async def watch(pool: Name, body: WatchRequest, request: Request, services: Used, _caller: Replicating) -> Response:
    """Long poll: answers when a table of another epoch than `known` exists, at the latest after `wait_s`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + body.wait_s
    expires_at = services.presence.note(pool, body)
    if expires_at is None:
        expires_at = await to_thread.run_sync(services.presence.record, pool, body)
    left: asyncio.Task[None] | None = None
    try:
        while True:
            page = await services.book.page(pool)
            if newer := ahead(body.known, page.epochs):
                await to_thread.run_sync(_lift, services, pool, body, newer)
                page = await services.book.page(pool)
            models, rest_s = page.news(body.known), until - loop.time()
            if models is not None or rest_s <= 0 or services.bell.closed:
                answer = await services.book.answer(page, models or ())
                return Response(answer, media_type="application/json")
            left = left or loop.create_task(_left(request))
            rung = services.bell.hear(pool)
            if services.bell.count(pool) == page.rung and not services.bell.closed:
                await asyncio.wait({rung, left}, timeout=rest_s, return_when=asyncio.FIRST_COMPLETED)
            rung.cancel()
            if left.done():
                services.presence.gone(pool, body.report.replica, expires_at)
                return Response(status_code=499)  # nobody reads it
    finally:
        if left is not None:
            left.cancel()


async def _left(request: Request) -> None:
    """Until the replica's connection is closed."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _lift(services: Services, pool: str, body: WatchRequest, newer: dict[str, int]) -> None:
    with services.db.write() as session:
        lift(session, pool, body.report.replica, newer, services.clock())
