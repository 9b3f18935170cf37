"""Jobs: the list, one with its progress and result, and how to end it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from controller.console.render import fragment, live, page, to_path
from controller.console.visit import Fields, Visit, Visitor
from controller.jobs import job_row, list_jobs, shown
from controller.paging import Paging
from controller.routers import jobs as api
from controller.services import Services, Used
from serinus.jobs import JOB_ENDS

__all__ = ["router"]

router = APIRouter(prefix="/jobs")
MOST_SHOWN = 60_000
Cursor = Annotated[str | None, Query(max_length=1000)]


@router.get("")
def list_all(request: Request, services: Used, visit: Visitor, model: str = "", cursor: Cursor = None) -> Response:
    with services.db.read() as session:
        found = list_jobs(session, model or None, None, Paging(50, cursor))
    older = to_path("jobs", model=model, cursor=found.next) if found.next else ""
    return page(request, "jobs.html", visit, now=services.clock(), jobs=found.items, older=older, model=model)


@router.get("/{job_id}")
def one(request: Request, services: Used, visit: Visitor, job_id: str) -> Response:
    return page(request, "job.html", visit, now=services.clock(), job_id=job_id, live=_job(services, visit, job_id))


@router.get("/{job_id}/live")
def one_live(services: Used, visit: Visitor, job_id: str, known: Annotated[str, Query(max_length=64)] = "") -> Response:
    return fragment(_job(services, visit, job_id), known)


@router.get("/{job_id}/cancel")
def ask(request: Request, services: Used, visit: Visitor, job_id: str) -> Response:
    visit.need("engineer")
    with services.db.read() as session:
        job = shown(job_row(session, job_id))
    return page(request, "cancel.html", visit, now=services.clock(), job=job)


@router.post("/{job_id}/cancel")
def cancel(services: Used, visit: Visitor, _fields: Fields, job_id: str) -> Response:
    visit.need("engineer")
    api.stop(job_id, services, visit.caller)
    return RedirectResponse(to_path("jobs", job_id), 303)


def _job(services: Services, visit: Visit, job_id: str) -> Markup:
    with services.db.read() as session:
        job = shown(job_row(session, job_id))
    result = json.dumps(job.result, indent=2, ensure_ascii=False) if job.result is not None else ""
    told: dict[str, Any] = {
        "job": job,
        "result": result[:MOST_SHOWN],
        "cut": len(result) > MOST_SHOWN,
        "may": visit.may("engineer"),
    }
    polls = job.state not in JOB_ENDS
    return live("job", to_path("jobs", job_id, "live"), "_job.html", polls=polls, now=services.clock(), **told)
