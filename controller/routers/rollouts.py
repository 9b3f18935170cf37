"""Rollouts: started, watched, commanded; and their evidence."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy import select

from controller.advance import advance, start
from controller.etags import IfMatch, require, tell
from controller.paging import Key, Page, Paged, page_of
from controller.permits import check_untried, must_be
from controller.rollouts import Ask, Rollout
from controller.rows import latest_evidence, model_of, rollout_row
from controller.series import MOST_GUARDS, MOST_POINTS, read_series
from controller.services import Engineering, Used, Viewing
from controller.tables import EvidenceRow, RolloutRow
from controller.views import rollout_view
from controller.words import CommandBody, EvidencePage, RolloutKey, StartBody
from serinus.errors import NotFound
from serinus.evidence import Evidence
from serinus.rollouts import ENDS, RolloutView
from serinus.series import Series
from serinus.tasks import Name
from serinus.transitions import TRANSITIONS, WHO, Transition

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["rollouts"])


@router.post("/models/{model}/rollouts", status_code=201)
def begin(model: Name, body: StartBody, services: Used, caller: Engineering) -> RolloutView:
    """Roll out a version against the stable one. One rollout of a model goes on at a time; `queue` waits for it.

    With a `key` that began one before, it is that one."""
    now, who = services.clock(), body.actor or caller.name
    with services.db.write() as session:
        check_untried(caller, body, model_of(session, model).sla.rollout)
        rollout = start(
            session,
            model,
            body.version,
            body.plan,
            why=body.reason,
            actor=who,
            now=now,
            queue=body.queue,
            skip_preflight=body.skip_preflight,
            key=body.key,
            caller=caller.name,
        )
        return rollout_view(session, rollout_row(session, rollout.id), now)


@router.get("/rollouts")
def list_rollouts(
    services: Used,
    _caller: Viewing,
    paged: Paged,
    model: Name | None = None,
    active: bool | None = None,
    key: RolloutKey | None = None,
) -> Page[RolloutView]:
    """Rollouts, of one model or of all, the newest first. `active`: those that have not ended, queued ones as well.

    `key`: the one that was begun by it."""
    query = select(RolloutRow)
    if key is not None:
        query = query.where(RolloutRow.key == key)
    if model is not None:
        query = query.where(RolloutRow.model == model)
    if active is not None:
        query = query.where(RolloutRow.phase.not_in(ENDS) if active else RolloutRow.phase.in_(ENDS))
    with services.db.read() as session:
        if model is not None:
            model_of(session, model)
        now, keys = services.clock(), [Key(RolloutRow.started_at, falling=True), Key(RolloutRow.id)]
        return page_of(session, query, keys, paged, lambda row: rollout_view(session, row, now))


@router.get("/rollouts/{rollout_id}")
def get(rollout_id: str, services: Used, _caller: Viewing, response: Response) -> RolloutView:
    """A rollout as it stands: its phase, what it waits for, what may be done to it. Its ETag is for commands."""
    with services.db.read() as session:
        view = rollout_view(session, rollout_row(session, rollout_id), services.clock())
    tell(response, *_told(view))
    return view


def _told(rollout: RolloutView | Rollout) -> tuple[object, ...]:
    """What a command could overwrite: its moves."""
    return (rollout.id, rollout.phase, rollout.step, len(rollout.history))


@router.post("/rollouts/{rollout_id}/commands")
def command(
    rollout_id: str, body: CommandBody, services: Used, caller: Engineering, if_match: IfMatch = None
) -> RolloutView:
    """Pause or abort (engineers), resume, approve, skip, promote or roll back (operators).

    409 with the history when the phase does not allow it."""
    must_be(caller, WHO[body.command])
    ask = Ask(body.command, body.reason, body.actor or caller.name, caller.name)

    def expect(rollout: Rollout) -> None:
        require(if_match, *_told(rollout))

    advance(services.db, rollout_id, services.store.uri, services.clock(), ask=ask, expect=expect)
    with services.db.read() as session:
        return rollout_view(session, rollout_row(session, rollout_id), services.clock())


@router.get("/transitions")
def transitions(_caller: Viewing) -> tuple[Transition, ...]:
    """What may follow what in a rollout, brought about by what, and who may do it."""
    return TRANSITIONS


@router.get("/rollouts/{rollout_id}/evidence")
def evidence(
    rollout_id: str,
    services: Used,
    _caller: Viewing,
    after_ms: int = -1,
    limit: Annotated[int, Query(ge=1, le=5000)] = 500,
) -> EvidencePage:
    """Looks after the tick `after_ms` that are kept in full, in order: the newest, those with which anything changed,
    those that moves rest on, and some between. Of all looks there are the numbers of `series`."""
    query = (
        select(EvidenceRow.body)
        .where(EvidenceRow.rollout == rollout_id, EvidenceRow.tick_ms > after_ms)
        .order_by(EvidenceRow.tick_ms)
        .limit(limit)
    )
    with services.db.read() as session:
        rollout_row(session, rollout_id)
        return EvidencePage(evidence=tuple(session.scalars(query)))


@router.get("/rollouts/{rollout_id}/series")
def series(
    rollout_id: str,
    services: Used,
    _caller: Viewing,
    *,
    guard: Annotated[tuple[str, ...], Query(max_length=MOST_GUARDS)] = (),
    stream: Literal["live", "replay"] = "live",
    after_ms: int = -1,
    points: Annotated[int, Query(ge=2, le=MOST_POINTS)] = 500,
) -> Series:
    """Every look in small, in columns: for charts. `guard`: a name whose columns are wanted; may be given again."""
    with services.db.read() as session:
        rollout_row(session, rollout_id)
        return read_series(session, rollout_id, guards=guard, stream=stream, after_ms=after_ms, points=points)


@router.get("/rollouts/{rollout_id}/evidence/latest")
def newest_evidence(rollout_id: str, services: Used, _caller: Viewing) -> Evidence:
    """The look that counts now: the first that was violated, else the newest. Before live traffic was looked at: what
    the preflight found."""
    with services.db.read() as session:
        rollout_row(session, rollout_id)
        found = latest_evidence(session, rollout_id) or latest_evidence(session, rollout_id, "replay")
        if found is None:
            raise NotFound(f"rollout {rollout_id} has no evidence yet", "it comes with the first tick of labels")
        return found
