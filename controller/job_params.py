"""What a monitor must know for a job and cannot look up: the SLA, the stable version, the rollouts of the past."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.rows import model_of
from controller.tables import Alias, RolloutRow, Version
from serinus.erasure import erasure_of
from serinus.errors import InvalidSla, NotFound
from serinus.jobs import JobKind
from serinus.sla import Sla

__all__ = ["filled"]

PAST = 20
"""Rollouts of the past that are named, the newest."""


def filled(session: Session, kind: JobKind, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with what the controller knows. Raises NotFound, BadInput, InvalidSla for an SLA of its
    own that is none."""
    model = model_of(session, name)
    if kind == "erase":
        return erasure_of(params).model_dump(mode="json")
    if kind not in ("plan", "backtest"):
        return params
    try:
        sla = Sla.model_validate(params["sla"]) if params.get("sla") is not None else model.sla
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise InvalidSla(f"{where or 'sla'}: {first['msg'].removeprefix('Value error, ')}") from error
    if sla.model != name:
        raise InvalidSla(f"model: the SLA is of {sla.model!r}, the job is of {name!r}")
    stable = session.scalar(select(Alias.version).where(Alias.model == name, Alias.alias == "stable"))
    version = _version(session, name, params.get("candidate"), stable)
    query = select(RolloutRow).where(RolloutRow.model == name, RolloutRow.started_event_ms.is_not(None))
    past = session.scalars(query.order_by(RolloutRow.started_at.desc()).limit(PAST))
    return {
        **params,
        "sla": sla.model_dump(mode="json"),
        "stable": stable,
        "watermark_ms": model.watermark_ms,
        "base_rates": {} if version is None else {task.name: task.base_rate for task in version.manifest.tasks},
        "rollouts": [
            {"id": row.id, "baseline": row.baseline, "candidate": row.candidate, "start_ms": row.started_event_ms}
            for row in past
        ],
    }


def _version(session: Session, name: str, candidate: Any, stable: int | None) -> Version | None:
    """The version that is asked about, else the stable one, if there is one. Raises NotFound."""
    if candidate is None:
        return None if stable is None else session.get(Version, (name, stable))
    found = session.get(Version, (name, candidate)) if isinstance(candidate, int) else None
    if found is None:
        raise NotFound(f"{name} has no version {str(candidate)[:80]!r}", "`serinus versions` lists those it has")
    return found
