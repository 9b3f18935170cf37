"""What the controller tells of itself, its replicas, monitors and rollouts, judged. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from serinus.client.situation import ReplicaNow, Situation
from serinus.doctor.finding import Finding, runbook
from serinus.evidence import HealthAlert
from serinus.rollouts import Phase

__all__ = ["behind", "judge_situation"]

APART_S = 5.0
SILENT_S = 30.0
"""A monitor calls twice a second; before a minute has passed it counts as alive."""
STUCK_S = 900.0
ALERTS = {"labels": "labels-stopped", "health": "stable-decay", "input": "stable-decay", "log": "stable-decay"}
LOST = {"labels", "log"}
"""Alerts that keep evidence from being right; the others speak of what is stable."""


def judge_situation(said: Situation, clock: float) -> list[Finding]:
    """`clock`: ours when the controller answered, Unix seconds."""
    return [
        *_lease(said),
        *_replicas(said),
        *_monitors(said),
        *_rollouts(said),
        *(_alert(each.alert) for each in said.alerts),
        *_notices(said),
        *_clocks(said, clock),
        *_models(said),
    ]


def behind(said: Situation) -> set[tuple[str, str]]:
    """(Replica, model): live replicas that have not applied the newest route table of a model of their pool."""
    epochs = {(each.pool, each.model): each.epoch for each in said.models if each.epoch is not None}
    found = set()
    for replica in said.replicas:
        if not replica.live:
            continue
        for (pool, model), epoch in epochs.items():
            has = replica.applied.get(model, 0 if replica.role == "front" else epoch)
            if pool == replica.pool and has < epoch:
                found.add((replica.replica, model))
    return found


def _lease(said: Situation) -> Iterable[Finding]:
    if said.acting or not said.now or (said.lease_until is not None and said.lease_until > said.now - 1):
        return
    since = "ever did" if said.lease_until is None else f"has since {said.now - said.lease_until:.0f} s"
    text = f"no controller carries the rollouts on: none {since} held the lease"
    do = "the log of the controllers says what keeps them from it; the database may refuse writes"
    yield Finding(level="wrong", what="no lease", text=text, do=do, runbook=runbook("no-active-controller"))


def _replicas(said: Situation) -> Iterable[Finding]:
    live = {(each.pool, each.role) for each in said.replicas if each.live}
    for pool in sorted({each.pool for each in said.models if "stable" in each.aliases}):
        if (pool, "front") not in live:
            text = f"pool {pool} has a stable version to serve and no live front door"
            yield _wrong("nobody answers", text, "start serving, or see its log", "target-down")
    pools = {each.model: each.pool for each in said.models}
    for each in said.rollouts:
        pool = pools.get(each.model, "")
        roles = [role for role in ("candidate", "shadow") if (pool, role) not in live]
        if roles and (pool, "front") in live and each.phase != Phase.QUEUED:
            text = f"version {each.candidate} goes no further: pool {pool} has no live {' and no live '.join(roles)}"
            yield _wrong(
                "replica missing", text, "the log of serving says why it is not there", "target-down", each.model
            )
    for replica in said.replicas:
        yield from _failing(replica)


def _failing(replica: ReplicaNow) -> Iterable[Finding]:
    for digest, why in sorted(replica.failed.items()) if replica.live else ():
        text = f"{replica.replica} cannot load {digest[:12]}: {why}"
        yield _wrong("replica fails", text, "its log has the rest; the package store may be away", "replicas-behind")


def _monitors(said: Situation) -> Iterable[Finding]:
    live = [each for each in said.monitors if each.live]
    if not live and (said.monitors or said.rollouts):
        names = ", ".join(each.monitor for each in said.monitors[:5]) or "none was ever there"
        text = f"no monitor is alive ({names}): nothing is judged, and rollouts hold"
        yield _wrong("no monitor", text, "start one, or see its log", "evidence-missing")
    for each in live:
        if (silent_s := said.now - each.seen_at) > SILENT_S:
            text = f"{each.monitor} has not called for {silent_s:.0f} s"
            do = "it hangs, is far behind, or cannot reach the controller: see its log"
            yield _look("monitor is silent", text, do, "evidence-missing")


def _rollouts(said: Situation) -> Iterable[Finding]:
    for each in said.rollouts:
        explain = f"serinus explain {each.model}"
        version = f"version {each.candidate}"
        if each.look == "error":
            text = f"no verdict can be given on {version}: {each.waiting_for}"
            yield _wrong("no verdict", text, explain, "evidence-error", each.model)
        for why in each.holds:
            yield _look("rollout is held", f"{version}: {why}", explain, "promotion-held", each.model)
        if each.phase == Phase.AWAITING_APPROVAL:
            do = f"{explain}; serinus rollout approve|rollback {each.model} -m WHY"
            yield _look("awaits approval", f"{version}: {each.waiting_for}", do, "promotion-held", each.model)
        elif each.phase == Phase.PAUSED:
            why = each.history[-1].why if each.history else ""
            do = f"serinus rollout resume {each.model}"
            yield _look("rollout is paused", f"{version}: {why}", do, "promotion-held", each.model)
        elif each.look == "violated":  # a dry run: any other would have been rolled back
            do = f"{explain}; serinus rollout rollback {each.model} -m WHY"
            yield _look("guard violated", f"{version}: {each.waiting_for}", do, "guard-violated", each.model)


def _alert(alert: HealthAlert) -> Finding:
    page, do = ALERTS[alert.kind], f"serinus health {alert.model}"
    make = _wrong if alert.kind in LOST else _look
    return make(
        "labels stopped" if alert.kind == "labels" else f"alert: {alert.kind}", alert.text, do, page, alert.model
    )


def _notices(said: Situation) -> Iterable[Finding]:
    notices = said.notices
    late_s = said.now - notices.oldest_at if notices.oldest_at is not None else 0.0
    if not notices.failing and late_s < STUCK_S:
        return
    text = f"{notices.count} notices have not reached their target, the oldest for {late_s:.0f} s: {notices.said}"
    make = _wrong if late_s >= STUCK_S else _look
    yield make("notices are stuck", text, "check the targets of SERINUS_NOTIFY_FILE", "notices-stuck")


def _clocks(said: Situation, clock: float) -> Iterable[Finding]:
    do = "let NTP set the clocks of both machines: label windows and leases go by them"
    if said.now and abs(said.now - clock) > APART_S:
        text = f"the controller's clock is {said.now - clock:+.0f} s from this machine's"
        yield _look("clocks apart", text, do)
    ahead = max((each.seen_at - said.now for each in said.monitors), default=0.0)
    if said.now and ahead > APART_S:
        yield _look("clocks apart", f"another controller's clock is {ahead:.0f} s ahead of this one's", do)


def _models(said: Situation) -> Iterable[Finding]:
    without = [each.model for each in said.models if "stable" not in each.aliases]
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        text = f"{', '.join(without[:3])}{more}: no version is stable, requests are refused"
        yield _look(
            "serves nothing", text, f"serinus push {without[0]} FOLDER; serinus promote {without[0]} 1 --initial"
        )


def _wrong(what: str, text: str, do: str, page: str = "", model: str = "") -> Finding:
    return Finding(level="wrong", what=what, text=text, do=do, model=model, runbook=runbook(page) if page else "")


def _look(what: str, text: str, do: str, page: str = "", model: str = "") -> Finding:
    return Finding(level="look", what=what, text=text, do=do, model=model, runbook=runbook(page) if page else "")
