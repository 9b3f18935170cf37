"""The HTTP API: one application, one handler for all errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import serinus
from controller.bodies import BoundedBodies
from controller.console import login
from controller.console.app import create_console
from controller.counting import Counting
from controller.idempotency import Idempotency
from controller.openapi import describe
from controller.problems import catch_all
from controller.request_ids import RequestIds
from controller.routers import (
    aliases,
    audit,
    bundles,
    events,
    garbage,
    health,
    jobs,
    keys,
    models,
    monitors,
    notices,
    packages,
    pools,
    rollouts,
    slas,
    tokens,
    uploads,
    versions,
    weights,
)
from controller.services import Services

__all__ = ["create_app"]


def create_app(services: Services) -> FastAPI:
    """The API over these services; its reconciler runs as long as the application does."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        services.bell.hang()
        services.events.hang()
        services.store.sweep()
        services.presence.start()
        services.upkeep.start()
        services.tokens.start()
        services.listening.start()
        services.reconciler.start()
        services.sender.start()
        yield
        services.listening.stop()
        services.reconciler.stop()
        services.presence.stop()
        services.upkeep.stop()
        services.tokens.stop()
        services.sender.stop()
        services.door.last_used.stop()

    app = FastAPI(
        title="Serinus controller", version=serinus.__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.services = services
    for router in (
        pools,  # the first: asked most often by far
        packages,
        health,
        models,
        slas,
        aliases,
        weights,
        versions,
        uploads,
        bundles,
        keys,
        garbage,
        rollouts,
        monitors,
        jobs,
        notices,
        tokens,
        audit,
        events,
    ):
        app.include_router(router.router)
    app.include_router(login.api)
    app.mount("/console", create_console(services))
    app.add_middleware(Idempotency, services=services)
    app.add_middleware(BoundedBodies)
    app.add_middleware(RequestIds)
    app.add_middleware(Counting, metrics=services.metrics)  # the outermost
    catch_all(app)
    describe(app)
    return app
