"""Replicas ask for newer route tables, and say what they hold."""

from __future__ import annotations

import asyncio

from anyio import to_thread
from fastapi import APIRouter, Request

from controller.replicas import gone, newer, record
from controller.services import Replicating, Services, Used
from serinus.routes import Watched, WatchRequest
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/pools", tags=["data plane"])
LOOK_S = 1.0
"""How often a waiting poll looks whether its replica is still connected."""


@router.post("/{pool}/watch")
async def watch(pool: Name, body: WatchRequest, request: Request, services: Used, _caller: Replicating) -> Watched:
    """Long poll: answers when a table of another epoch than `known` exists, at the latest after `wait_s`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + body.wait_s
    expires_at = await to_thread.run_sync(_record, services, pool, body)
    while True:
        rung = services.bell.rung
        found, change = await to_thread.run_sync(_newer, services, pool, body.known)
        if change or services.bell.closed:
            return found
        while services.bell.rung == rung:
            left = until - loop.time()
            if left <= 0:
                return found
            if await services.bell.wait(rung, min(LOOK_S, left)):
                break
            if await request.is_disconnected():
                await to_thread.run_sync(_gone, services, pool, body, expires_at)
                return found


def _record(services: Services, pool: str, body: WatchRequest) -> float:
    with services.db.write() as session:
        return record(session, pool, body, services.clock())


def _newer(services: Services, pool: str, known: dict[str, int]) -> tuple[Watched, bool]:
    with services.db.read() as session:
        return newer(session, pool, known)


def _gone(services: Services, pool: str, body: WatchRequest, expires_at: float) -> None:
    with services.db.write() as session:
        gone(session, pool, body.report.replica, expires_at, services.clock())
