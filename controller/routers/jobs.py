"""Jobs: asked for, looked at, cancelled. Monitors take them at their exchange."""

from __future__ import annotations

from fastapi import APIRouter

from controller.audit import audit
from controller.job_params import filled
from controller.jobs import cancel, job_row, list_jobs, queue, shown
from controller.paging import Page, Paged
from controller.services import Engineering, Used, Viewing
from serinus.erasure import without_entity
from serinus.errors import BadInput, NotAllowed
from serinus.jobs import Job, JobAsk, JobKind
from serinus.tasks import Name

__all__ = ["router"]

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post("", status_code=201)
def ask(body: JobAsk, services: Used, caller: Engineering) -> Job:
    """Queue a job; a monitor that is free takes it. To erase an entity's rows is for admins alone."""
    if body.kind == "erase" and caller.role != "admin":
        raise NotAllowed(f"token {caller.name!r} has role {caller.role}; to erase needs admin")
    if body.kind == "preflight":
        raise BadInput("a preflight belongs to a rollout", "start one, with `preflight` in its plan")
    who = body.actor or caller.name
    with services.db.write() as session:
        params = filled(session, body.kind, body.model, body.params)
        made = queue(session, body.kind, body.model, params, actor=who, now=services.clock())
        action = "logs.erase" if body.kind == "erase" else "job.ask"
        detail = {"job": made, "kind": body.kind, "actor": body.actor}
        if body.kind == "erase":
            detail |= without_entity(params)
        subject, now = f"models/{body.model}", services.clock()
        audit(session, actor=caller.name, action=action, subject=subject, detail=detail, now=now)
        return shown(job_row(session, made))


@router.get("")
def list_all(
    services: Used,
    _caller: Viewing,
    paged: Paged,
    model: Name | None = None,
    kind: JobKind | None = None,
) -> Page[Job]:
    """Jobs, the newest first, without parameters and results."""
    with services.db.read() as session:
        return list_jobs(session, model, kind, paged)


@router.get("/{job_id}")
def get(job_id: str, services: Used, _caller: Viewing) -> Job:
    """A job with its parameters, how far it is, and its result when it is done."""
    with services.db.read() as session:
        return shown(job_row(session, job_id))


@router.post("/{job_id}/cancel")
def stop(job_id: str, services: Used, caller: Engineering) -> Job:
    """End a job; one that has ended otherwise stays as it is (409). To cancel an erasure is for admins alone."""
    now = services.clock()
    with services.db.write() as session:
        if job_row(session, job_id).kind == "erase" and caller.role != "admin":
            raise NotAllowed(f"token {caller.name!r} has role {caller.role}; to cancel an erasure needs admin")
        job = shown(cancel(session, job_id, actor=caller.name, now=now))
        detail, subject = {"job": job.id, "kind": job.kind}, f"models/{job.model}"
        audit(session, actor=caller.name, action="job.cancel", subject=subject, detail=detail, now=now)
        return job
