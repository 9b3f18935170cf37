"""The job of a preflight: there while its rollout is in that phase, cancelled when it left, its evidence kept."""

from __future__ import annotations

import logging

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.items import item_of
from controller.jobs import as_job, cancel, queue
from controller.looks import keep_look
from controller.rollouts import Rollout
from controller.routes import UriOf
from controller.rows import as_rollout
from controller.tables import JobRow, Model, RolloutRow
from serinus.errors import BadInput, Overloaded
from serinus.jobs import JOB_ENDS, Job
from serinus.preflights import PreflightParams, PreflightResult
from serinus.rollouts import Preflight

__all__ = ["follow", "id_of", "keep_replay", "preflight_of"]

log = logging.getLogger(__name__)


def id_of(rollout_id: str) -> str:
    """One rollout has one preflight, however often it is queued."""
    return f"preflight-{rollout_id}"


def follow(session: Session, row: RolloutRow, uri_of: UriOf, now: float) -> None:
    """Bring the job in line with the phase that the rollout is in now. Doing it twice does it once.

    In its phase it is queued where it is not yet; past it, it is cancelled unless it has ended."""
    if row.plan.preflight is None:
        return
    inside = as_rollout(row).in_preflight
    job = session.get(JobRow, id_of(row.id))
    if inside and job is None:
        _queue(session, row, row.plan.preflight, uri_of, now)
    if not inside and job is not None and job.state not in JOB_ENDS:
        cancel(session, job.id, actor=f"the rollout, which is in {row.phase}", now=now)


def _queue(session: Session, row: RolloutRow, preflight: Preflight, uri_of: UriOf, now: float) -> None:
    item = item_of(session, row, uri_of, alpha=row.plan.replay_alpha, since_ms=row.started_event_ms or 0)
    until = session.scalar(select(Model.watermark_ms).where(Model.name == row.model))
    params = PreflightParams(item=item, preflight=preflight, until_ms=until).model_dump(mode="json")
    try:
        queue(session, "preflight", row.model, params, actor="controller", now=now, job_id=id_of(row.id))
    except (Overloaded, BadInput) as error:  # the next step tries again, and the deadline ends that
        log.warning("the preflight of rollout %s cannot be queued: %s", row.id, error.detail)


def preflight_of(session: Session, rollout: Rollout) -> tuple[Job | None, PreflightResult | None]:
    """The job, while the rollout is in its preflight, and what it found, where that can be read."""
    row = session.get(JobRow, id_of(rollout.id)) if rollout.in_preflight else None
    if row is None:
        return None, None
    return as_job(row), _found_in(rollout, row)


def _found_in(rollout: Rollout, job: JobRow) -> PreflightResult | None:
    """What the job found; None when it has not, or when it is no result of this rollout."""
    if job.state != "done" or job.result is None:
        return None
    try:
        found = PreflightResult.model_validate(job.result)
    except ValidationError as error:
        log.error("the result of job %s cannot be read: %s", job.id, error)
        return None
    evidence, ours = found.evidence, (rollout.id, rollout.model, rollout.baseline, rollout.candidate)
    if evidence and (evidence.rollout, evidence.model, evidence.baseline, evidence.candidate) != ours:
        log.error("the result of job %s is of another rollout", job.id)
        return None
    return found


def keep_replay(session: Session, rollout: Rollout, found: PreflightResult | None, now: float) -> None:
    """Keep the evidence of the preflight beside that of the live traffic, for `explain`; the first one stays."""
    if found is None or found.evidence is None:
        return
    job = session.get(JobRow, id_of(rollout.id))
    keep_look(session, found.evidence, "replay", (job.worker if job else None) or "", now)
