"""Is it alive, is it ready, and what is there altogether."""

from __future__ import annotations

from fastapi import APIRouter, Response

from controller.services import Used, Viewing
from controller.status import status_of
from controller.status_words import Status
from serinus.errors import Unavailable
from serinus.exposition import CONTENT_TYPE_LATEST

__all__ = ["router"]

router = APIRouter(tags=["status"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(services: Used) -> dict[str, str]:
    """The database can be read and written, has the schema of this release, and the reconciler's thread runs."""
    if not (state := services.db.state()).ok:
        raise Unavailable(f"the database is {state.word.replace('_', ' ')}", state.said)
    if not services.reconciler.alive:
        raise Unavailable("the reconciler's thread has ended", "restart the controller; its log says why it ended")
    return {"status": "ready"}


@router.get("/metrics", include_in_schema=False)
def metrics(services: Used, _: Viewing) -> Response:
    """For Prometheus, in its text format."""
    return Response(services.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/status")
def status(services: Used, caller: Viewing) -> Status:
    """Models, rollouts that have not ended, replicas, monitors, alerts that last, notices that wait."""
    with services.db.read() as session:
        return status_of(session, services.clock(), acting=services.reconciler.active, you=caller.role)
