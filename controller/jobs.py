"""Long work that monitors do: queued, handed out under a lease, its result kept once."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import and_, case, delete, func, or_, select, update
from sqlalchemy.orm import Session

from controller.database import upsert
from controller.paging import Key, Page, Paging, page_of
from controller.tables import JobRow
from serinus.erasure import without_entity
from serinus.errors import BadInput, IllegalMove, NotFound, Overloaded
from serinus.jobs import JOB_ENDS, JOB_LEASE_S, PARAMS_BYTES, RESULT_BYTES, Job, JobKind, JobReport, JobState

__all__ = ["as_job", "cancel", "hand_out", "job_row", "list_jobs", "queue", "shown", "take_in"]

log = logging.getLogger(__name__)
MOST_OPEN = 50
"""Jobs of one model that wait or run."""
KEPT = 50
"""Ended jobs of one model and kind that are kept, the newest."""
PATIENCE_S = 5.0
"""A preflight that has waited so long for a monitor that is free takes the place of what gives way and goes on later.
"""
GIVE_WAY: tuple[JobKind, ...] = ("backtest", "erase")
MOST_LOSSES = 5
"""A job that so many monitors lost in a row, without getting any further, is what ends them."""


def queue(
    session: Session,
    kind: JobKind,
    model: str,
    params: dict[str, Any],
    *,
    actor: str,
    now: float,
    job_id: str | None = None,
) -> str:
    """Write a job down; gives its id. `job_id`: queued again under the same id it is the same job.

    Raises BadInput when the parameters are too large, Overloaded when the model has too many jobs already."""
    job = Job(
        id=job_id or uuid.uuid4().hex,
        kind=kind,
        model=model,
        params=params,
        actor=actor,
        created_at=now,
    )
    if (size := len(job.model_dump_json())) > PARAMS_BYTES:
        raise BadInput(f"the job's parameters are {size} bytes large, at most {PARAMS_BYTES} are taken")
    waiting = select(func.count()).where(JobRow.model == model, JobRow.state.not_in(JOB_ENDS))
    if kind != "preflight" and (session.scalar(waiting) or 0) >= MOST_OPEN:
        raise Overloaded(f"{model} has {MOST_OPEN} jobs that wait or run", "cancel some: `serinus jobs cancel`")
    told = job.model_dump(exclude={"id"}, mode="python")
    upsert(session, JobRow, {"id": job.id}, {**told, "losses": 0, "ended_at": None}, first_stays=True)
    return job.id


def take_in(session: Session, monitor: str, reports: Iterable[JobReport], now: float) -> None:
    """Keep what a monitor says of the jobs that it holds; of others it says nothing any more."""
    told = {report.id: report for report in reports}
    if not told:
        return
    query = select(JobRow).where(JobRow.id.in_(told)).order_by(JobRow.id).with_for_update()
    for row in session.scalars(query):
        report = told.pop(row.id)
        if row.state != "running" or row.worker != monitor:
            log.info("job %s is %s; what monitor %s says of it is of no use", row.id, row.state, monitor)
            continue
        if report.progress > row.progress:
            row.progress, row.losses = report.progress, 0
        row.said = report.said
        if report.state in JOB_ENDS:
            _end(session, row, report, now)


def _end(session: Session, row: JobRow, report: JobReport, now: float) -> None:
    row.state, row.result = report.state, report.result if report.state == "done" else None
    if (size := len(report.model_dump_json())) > RESULT_BYTES:
        row.state, row.result = "failed", None
        row.said = f"its result is {size} bytes large, at most {RESULT_BYTES} are kept"
    if row.state == "done":
        row.progress = 1.0
    row.lease_until, row.ended_at = None, now
    if row.kind == "erase":
        row.params = without_entity(row.params)
    _prune(session, row)


def _prune(session: Session, row: JobRow) -> None:
    """Forget the oldest ended jobs of the model and kind."""
    session.flush()
    alike = and_(JobRow.model == row.model, JobRow.kind == row.kind, JobRow.state.in_(JOB_ENDS))
    newest = select(JobRow.id).where(alike).order_by(JobRow.ended_at.desc(), JobRow.id).limit(KEPT)
    kept = set(session.scalars(newest))
    session.execute(delete(JobRow).where(alike, JobRow.id.not_in(kept)))


def hand_out(session: Session, monitor: str, *, free: bool, now: float) -> tuple[Job, ...]:
    """The jobs that the monitor holds, with a new lease; when it holds none and is `free`, the next that waits.

    One whose lease has lapsed waits as well."""
    mine = and_(JobRow.state == "running", JobRow.worker == monitor)
    session.execute(update(JobRow).where(mine).values(lease_until=now + JOB_LEASE_S))
    held = list(session.scalars(select(JobRow).where(mine).order_by(JobRow.created_at)))
    if any(row.kind in GIVE_WAY for row in held) and _preflight_waits(session, now):
        held = [row for row in held if not _put_back(row)]
    if held or not free:
        return tuple(as_job(row) for row in held)
    while (row := _next(session, now)) is not None:
        if row.state == "running":
            row.losses += 1
        if row.losses < MOST_LOSSES:
            row.state, row.worker, row.lease_until = "running", monitor, now + JOB_LEASE_S
            return (as_job(row),)
        said = f"{MOST_LOSSES} monitors in a row went silent with it, the last one was {row.worker}"
        _end(session, row, JobReport(id=row.id, state="failed", said=said), now)
        row.said = said
    return ()


def _preflight_waits(session: Session, now: float) -> bool:
    waits = (JobRow.kind == "preflight", JobRow.state == "queued", JobRow.created_at < now - PATIENCE_S)
    return session.scalar(select(JobRow.id).where(*waits).limit(1)) is not None


def _put_back(row: JobRow) -> bool:
    """A backtest waits again; its monitor learns that it has it no more, and keeps what it found so far."""
    if row.kind in GIVE_WAY:
        row.state, row.worker, row.lease_until = "queued", None, None
    return row.kind in GIVE_WAY


def _next(session: Session, now: float) -> JobRow | None:
    """The oldest that waits; preflights first, for a rollout stands still meanwhile, and backtests last."""
    lapsed = and_(JobRow.state == "running", JobRow.lease_until <= now)
    turn = case((JobRow.kind == "preflight", 0), (JobRow.kind == "backtest", 2), else_=1)
    query = select(JobRow).where(or_(JobRow.state == "queued", lapsed)).order_by(turn, JobRow.created_at, JobRow.id)
    return session.scalars(query.limit(1).with_for_update(skip_locked=True)).one_or_none()


def cancel(session: Session, job_id: str, *, actor: str, now: float) -> JobRow:
    """End a job that waits or runs; its monitor learns of it at its next exchange. Again is the same.

    Raises NotFound, IllegalMove when it ended in another way."""
    query = select(JobRow).where(JobRow.id == job_id).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound(f"there is no job {job_id!r}", "`serinus jobs list` has those that are known")
    if row.state in JOB_ENDS and row.state != "cancelled":
        raise IllegalMove(f"job {job_id} is {row.state} already", "`serinus jobs show` has what it found")
    if row.state != "cancelled":
        _end(session, row, JobReport(id=row.id, state="cancelled"), now)
        row.said = f"cancelled by {actor}"
    return row


def job_row(session: Session, job_id: str) -> JobRow:
    """Raises NotFound."""
    if (row := session.get(JobRow, job_id)) is None:
        raise NotFound(f"there is no job {job_id!r}", "`serinus jobs list` has those that are known")
    return row


def list_jobs(session: Session, model: str | None, kind: JobKind | None, paging: Paging) -> Page[Job]:
    """The newest first, without their parameters and results."""
    query = select(JobRow)
    for column, wanted in ((JobRow.model, model), (JobRow.kind, kind)):
        if wanted is not None:
            query = query.where(column == wanted)
    keys = [Key(JobRow.created_at, falling=True), Key(JobRow.id)]
    return page_of(session, query, keys, paging, _line)


def _line(row: JobRow) -> Job:
    return as_job(row).model_copy(update={"params": {}, "result": None})


def shown(row: JobRow) -> Job:
    """A job as anybody may see it: an entity that is to be erased is not named."""
    job = as_job(row)
    return job.model_copy(update={"params": without_entity(job.params)}) if job.kind == "erase" else job


def as_job(row: JobRow) -> Job:
    state: JobState = row.state  # type: ignore[assignment]  # only its words are ever written
    told = {name: getattr(row, name) for name in Job.model_fields if name != "state"}
    return Job.model_validate({**told, "state": state})
