"""Monitors bring evidence and watermarks, and take the list of what to look at."""

from __future__ import annotations

from fastapi import APIRouter

from controller.exchange import keep, work
from controller.jobs import hand_out, take_in
from controller.services import Monitoring, Used
from serinus.evidence import MonitorReport, MonitorWork

__all__ = ["router"]

router = APIRouter(prefix="/v1/monitor", tags=["data plane"])


@router.post("/exchange")
def exchange(body: MonitorReport, services: Used, _caller: Monitoring) -> MonitorWork:
    """Evidence is stored once per rollout and tick, a job's result once: sending them again changes nothing."""
    now = services.clock()
    with services.db.write() as session:
        keep(session, body, now)
        take_in(session, body.monitor, body.jobs, now)
        jobs = hand_out(session, body.monitor, free=body.free, now=now)
    with services.db.read() as session:
        return work(session, services.store.uri).model_copy(update={"jobs": jobs})
