"""Monitors bring evidence and watermarks, and take the list of what to look at."""

from __future__ import annotations

from fastapi import APIRouter

from controller.exchange import keep, work
from controller.services import Monitoring, Used
from serinus.evidence import MonitorReport, MonitorWork

__all__ = ["router"]

router = APIRouter(prefix="/v1/monitor", tags=["data plane"])


@router.post("/exchange")
def exchange(body: MonitorReport, services: Used, _caller: Monitoring) -> MonitorWork:
    """Evidence is stored once per rollout and tick: sending it again changes nothing."""
    with services.db.write() as session:
        keep(session, body, services.clock())
    with services.db.read() as session:
        return work(session)
