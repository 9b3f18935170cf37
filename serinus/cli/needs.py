"""What needs a person, the most urgent first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from serinus.client.views import HealthView
from serinus.evidence import Evidence
from serinus.rollouts import Phase, RolloutView

__all__ = ["Need", "held_hours", "needs_of"]

HOUR_S = 3_600.0


class Need(BaseModel):
    """Something that waits for a person. `do`: the command that helps, or where to look."""

    what: str
    model: str = ""
    text: str
    do: str = ""


def needs_of(
    said: Mapping[str, Any],
    rollouts: Sequence[RolloutView],
    looks: Mapping[str, Evidence],
    healths: Iterable[HealthView],
) -> list[Need]:
    """Approvals, holds, alerts, replicas that cannot load or are not there, silent monitors, models without a stable
    version.

    `said`: the controller's status; `looks`: rollout -> its newest look."""
    return [
        *_approvals(rollouts),
        *_holds(rollouts, looks),
        *_alerts(healths),
        *_replicas(said.get("replicas", ())),
        *_missing(said, rollouts),
        *_monitors(said.get("monitors", ()), bool(rollouts)),
        *_unserved(said.get("models", ())),
    ]


def held_hours(view: RolloutView, watermark_ms: int | None) -> float | None:
    """Hours in its phase: of event time where there is any, else of wall time; None before its first move."""
    if not view.history:
        return None
    last = view.history[-1]
    if last.event_ms is not None and watermark_ms is not None:
        return max(0.0, (watermark_ms - last.event_ms) / 1000 / HOUR_S)
    return max(0.0, (time.time() - last.at) / HOUR_S)


def _approvals(rollouts: Iterable[RolloutView]) -> Iterable[Need]:
    for view in rollouts:
        if view.phase == Phase.AWAITING_APPROVAL:
            do = f"serinus explain {view.model}; serinus rollout approve|rollback {view.model} -m WHY"
            text = f"version {view.candidate}: {view.waiting_for}"
            yield Need(what="awaits approval", model=view.model, text=text, do=do)
        elif view.phase == Phase.PAUSED:
            text = f"version {view.candidate} was paused: {view.history[-1].why if view.history else ''}"
            yield Need(what="paused", model=view.model, text=text, do=f"serinus rollout resume {view.model}")


def _holds(rollouts: Iterable[RolloutView], looks: Mapping[str, Evidence]) -> Iterable[Need]:
    for view in rollouts:
        look = looks.get(view.id)
        for why in look.holds if look is not None else ():
            yield Need(what="held", model=view.model, text=why, do=f"serinus explain {view.model}")
        if look is not None and look.verdict == "error":
            text = f"no verdict can be given on version {view.candidate}: {view.waiting_for}"
            yield Need(what="no verdict", model=view.model, text=text, do=f"serinus explain {view.model}")


def _alerts(healths: Iterable[HealthView]) -> Iterable[Need]:
    for health in healths:
        for each in health.alerts:
            if each.resolved_at is None:
                do = f"serinus health {health.model}"
                yield Need(what=f"alert: {each.alert.kind}", model=health.model, text=each.alert.text, do=do)


def _replicas(replicas: Iterable[Mapping[str, Any]]) -> Iterable[Need]:
    for each in replicas:
        for digest, why in (each.get("failed") or {}).items() if each.get("live") else ():
            text = f"{each.get('replica')} cannot load {digest[:12]}: {why}"
            yield Need(what="replica fails", text=text, do="its log has the rest")


def _missing(said: Mapping[str, Any], rollouts: Iterable[RolloutView]) -> Iterable[Need]:
    """Pools where nobody answers for a stable version, or nobody can run a candidate."""
    live = {(each.get("pool"), each.get("role")) for each in said.get("replicas", ()) if each.get("live")}
    pools = {str(each.get("model")): each.get("pool") for each in said.get("models", ())}
    served = {each.get("pool") for each in said.get("models", ()) if "stable" in (each.get("aliases") or {})}
    for pool in sorted(str(pool) for pool in served if (pool, "front") not in live):
        text = f"pool {pool}: no front door is alive"
        yield Need(what="nobody answers", text=text, do="serinus up, or the log of serving")
    for view in rollouts:
        at = pools.get(view.model)
        roles = [role for role in ("candidate", "shadow") if (at, role) not in live]
        if roles and (at, "front") in live and view.phase != Phase.QUEUED:
            text = f"version {view.candidate} goes no further: pool {at} has no live {' and no live '.join(roles)}"
            yield Need(what="replica missing", model=view.model, text=text, do="the log of serving has the rest")


def _monitors(monitors: Sequence[Mapping[str, Any]], wanted: bool) -> Iterable[Need]:
    if any(each.get("live") for each in monitors) or not (monitors or wanted):
        return
    names = ", ".join(str(each.get("monitor")) for each in monitors) or "none was ever there"
    yield Need(what="no monitor", text=f"no monitor is alive ({names}): nothing is judged", do="its log has the rest")


def _unserved(models: Iterable[Mapping[str, Any]]) -> Iterable[Need]:
    for each in models:
        if "stable" not in (each.get("aliases") or {}):
            name = str(each.get("model"))
            do = f"serinus push {name} FOLDER; serinus promote {name} 1 --initial"
            yield Need(what="serves nothing", model=name, text="no version is stable", do=do)
