"""What needs a person, the most urgent first."""

from __future__ import annotations

import time
from collections.abc import Iterable

from pydantic import BaseModel

from serinus.client.situation import Alerted, ModelNow, ReplicaNow, RolloutNow, Situation
from serinus.rollouts import Phase

__all__ = ["Need", "held_hours", "needs_of"]

HOUR_S = 3_600.0
MOST_SHOWN = 10
"""Models of which each is named as serving nothing."""


class Need(BaseModel):
    """Something that waits for a person. `do`: the command that helps, or where to look."""

    what: str
    model: str = ""
    text: str
    do: str = ""


def needs_of(said: Situation) -> list[Need]:
    """Approvals, holds, alerts, replicas that cannot load or are not there, silent monitors, models without a stable
    version."""
    return [
        *_lease(said),
        *_approvals(said.rollouts),
        *_holds(said.rollouts),
        *_alerts(said),
        *_replicas(said.replicas),
        *_missing(said),
        *_monitors(said),
        *_unserved(said.models),
    ]


def held_hours(rollout: RolloutNow, watermark_ms: int | None) -> float | None:
    """Hours in its phase: of event time where there is any, else of wall time; None before its first move."""
    if not rollout.history:
        return None
    last = rollout.history[-1]
    if last.event_ms is not None and watermark_ms is not None:
        return max(0.0, (watermark_ms - last.event_ms) / 1000 / HOUR_S)
    return max(0.0, (time.time() - last.at) / HOUR_S)


def _lease(said: Situation) -> Iterable[Need]:
    """A controller that is too old to tell of its clock tells nothing of the lease either."""
    if not said.acting and said.now and (said.lease_until is None or said.lease_until < said.now - 1):
        text = "no controller carries the rollouts on: none holds the lease"
        yield Need(what="nobody acts", text=text, do="serinus doctor; the controllers' log says why")


def _approvals(rollouts: Iterable[RolloutNow]) -> Iterable[Need]:
    for each in rollouts:
        if each.phase == Phase.AWAITING_APPROVAL:
            do = f"serinus explain {each.model}; serinus rollout approve|rollback {each.model} -m WHY"
            text = f"version {each.candidate}: {each.waiting_for}"
            yield Need(what="awaits approval", model=each.model, text=text, do=do)
        elif each.phase == Phase.PAUSED:
            text = f"version {each.candidate} was paused: {each.history[-1].why if each.history else ''}"
            yield Need(what="paused", model=each.model, text=text, do=f"serinus rollout resume {each.model}")
        elif each.look == "violated":  # a dry run: any other would have been rolled back
            do = f"serinus explain {each.model}; serinus rollout rollback {each.model} -m WHY"
            text = f"version {each.candidate}: {each.waiting_for}"
            yield Need(what="violated", model=each.model, text=text, do=do)


def _holds(rollouts: Iterable[RolloutNow]) -> Iterable[Need]:
    for each in rollouts:
        for why in each.holds:
            yield Need(what="held", model=each.model, text=why, do=f"serinus explain {each.model}")
        if each.look == "error":
            text = f"no verdict can be given on version {each.candidate}: {each.waiting_for}"
            yield Need(what="no verdict", model=each.model, text=text, do=f"serinus explain {each.model}")


def _alerts(said: Situation) -> Iterable[Need]:
    for each in said.alerts:
        yield _alert(each)
    if (more := said.alerts_in_all - len(said.alerts)) > 0:
        yield Need(what="more alerts", text=f"{more} older alerts last as well", do="serinus health MODEL")


def _alert(each: Alerted) -> Need:
    model = each.alert.model
    return Need(what=f"alert: {each.alert.kind}", model=model, text=each.alert.text, do=f"serinus health {model}")


def _replicas(replicas: Iterable[ReplicaNow]) -> Iterable[Need]:
    for each in replicas:
        for digest, why in each.failed.items() if each.live else ():
            text = f"{each.replica} cannot load {digest[:12]}: {why}"
            yield Need(what="replica fails", text=text, do="its log has the rest")


def _missing(said: Situation) -> Iterable[Need]:
    """Pools where nobody answers for a stable version, or nobody can run a candidate."""
    live = {(each.pool, each.role) for each in said.replicas if each.live}
    pools = {each.model: each.pool for each in said.models}
    served = {each.pool for each in said.models if "stable" in each.aliases}
    for pool in sorted(pool for pool in served if (pool, "front") not in live):
        text = f"pool {pool}: no front door is alive"
        yield Need(what="nobody answers", text=text, do="serinus up, or the log of serving")
    for each in said.rollouts:
        pool = pools.get(each.model, "")
        roles = [role for role in ("candidate", "shadow") if (pool, role) not in live]
        if roles and (pool, "front") in live and each.phase != Phase.QUEUED:
            text = f"version {each.candidate} goes no further: pool {pool} has no live {' and no live '.join(roles)}"
            yield Need(what="replica missing", model=each.model, text=text, do="the log of serving has the rest")


def _monitors(said: Situation) -> Iterable[Need]:
    if any(each.live for each in said.monitors) or not (said.monitors or said.rollouts):
        return
    names = ", ".join(each.monitor for each in said.monitors[:MOST_SHOWN]) or "none was ever there"
    yield Need(what="no monitor", text=f"no monitor is alive ({names}): nothing is judged", do="its log has the rest")


def _unserved(models: Iterable[ModelNow]) -> Iterable[Need]:
    without = [each.model for each in models if "stable" not in each.aliases]
    for name in without[:MOST_SHOWN]:
        do = f"serinus push {name} FOLDER; serinus promote {name} 1 --initial"
        yield Need(what="serves nothing", model=name, text="no version is stable", do=do)
    if (more := len(without) - MOST_SHOWN) > 0:
        yield Need(
            what="serves nothing",
            text=f"{more} more models have no stable version",
            do="serinus status --json names them",
        )
