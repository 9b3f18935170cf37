"""Resources that are wrong, and the field that each refusal names."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

__all__ = ["MODEL", "ONLY_THE_OPERATOR", "POOL", "REFUSED", "ROLLOUT", "Change", "changed"]


class Change(NamedTuple):
    """`path`: where `value` is put, one step after the other. `names`: in what Kubernetes says."""

    kind: str
    path: str
    value: Any
    names: str


def resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "serinus.dev/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec}


POOL = resource("ServingPool", {"image": "serinus:1"})
MODEL = resource(
    "MultiTaskModel",
    {
        "sla": {
            "tasks": {"click": {"label_window_s": 60, "absent": "negative"}},
            "slices": {"country": ["BR"]},
            "guards": [{"task": "click", "metric": "auc", "margin": 0.01}],
            "rollout": {"steps": [{"canary_bp": 100, "hold_s": 0}, {"canary_bp": 100, "hold_s": 0}]},
        }
    },
)
ROLLOUT = resource("Rollout", {"model": "ads", "version": 2})
GOOD = {each["kind"]: each for each in (POOL, MODEL, ROLLOUT)}
FREEZE = {"freezes": [{"start": "2026-12-18T00:00:00Z", "end": "2026-12-17T00:00:00Z"}]}
FALLING = [{"canary_bp": 100, "hold_s": 0}, {"canary_bp": 50, "hold_s": 0}]
REFUSED = [
    Change("ServingPool", "metadata.name", "a.b", "metadata.name"),
    Change("ServingPool", "spec.image", None, "spec.image"),
    Change("ServingPool", "spec.imaeg", "it", "spec.imaeg"),
    Change("ServingPool", "spec.api", "ftp://it", "spec.api"),
    Change("ServingPool", "spec.front_doors", {"min": 3, "max": 2}, "spec.front_doors"),
    Change("ServingPool", "spec.front_doors", {"min": 0, "max": 2}, "spec.front_doors.min"),
    Change("ServingPool", "spec.candidates", {"min": 1}, "spec.candidates.max"),
    Change("ServingPool", "spec.resources", {"head": {"cpu": "much", "memory": "1Gi"}}, "spec.resources.head.cpu"),
    Change("ServingPool", "spec.settings", {"cache_ms": [1]}, "spec.settings.cache_ms"),
    Change("ServingPool", "spec.ray", {"redis": {"address": "redis", "password_secret": "it"}}, "redis.address"),
    Change("ServingPool", "spec.haproxy", {"max_connections": 1}, "spec.haproxy.max_connections"),
    Change("ServingPool", "spec.service", {"type": "ClusterIP", "node_port": 30_000}, "spec.service"),
    Change("ServingPool", "spec.service", {"type": "Ingress"}, "spec.service.type"),
    Change("MultiTaskModel", "metadata.name", "9lives", "metadata.name"),
    Change("MultiTaskModel", "spec.sla", None, "spec.sla"),
    Change("MultiTaskModel", "spec.sla.model", "another", "spec.sla.model"),
    Change("MultiTaskModel", "spec.sla.tasks", {}, "spec.sla.tasks"),
    Change("MultiTaskModel", "spec.sla.tasks.Click", {"label_window_s": 1, "absent": "negative"}, "spec.sla.tasks"),
    Change("MultiTaskModel", "spec.sla.tasks.click.absent", "zero", "spec.sla.tasks.click.absent"),
    Change("MultiTaskModel", "spec.sla.tasks.click.absent", None, "spec.sla.tasks.click.absent"),
    Change("MultiTaskModel", "spec.sla.tasks.click.early_window_s", 61, "early_window_s"),
    Change("MultiTaskModel", "spec.sla.tasks.click.kind", "multiclass", "absent"),
    Change("MultiTaskModel", "spec.sla.tasks.click.given", "not view", "given"),
    Change("MultiTaskModel", "spec.sla.tasks.click.head", {"fallback": "zero"}, "click.head.fallback"),
    Change("MultiTaskModel", "spec.sla.tasks.click.head", {"fallback": [1]}, "click.head.fallback"),
    Change("MultiTaskModel", "spec.sla.tasks.click.head", {"budget_ms": 0}, "click.head.budget_ms"),
    Change("MultiTaskModel", "spec.sla.slices.country", "automatic", "spec.sla.slices.country"),
    Change("MultiTaskModel", "spec.sla.slices.country", 65, "spec.sla.slices.country"),
    Change("MultiTaskModel", "spec.sla.slices.country", {"top": 0}, "spec.sla.slices.country.top"),
    Change("MultiTaskModel", "spec.sla.tick_s", 7_000, "tick_s"),
    Change("MultiTaskModel", "spec.sla.guards.0.task", "buy", "guards"),
    Change("MultiTaskModel", "spec.sla.guards.0.metric", "recall", "spec.sla.guards[0].metric"),
    Change("MultiTaskModel", "spec.sla.guards.0.role", "display", "guards"),
    Change("MultiTaskModel", "spec.sla.guards.0.metric", "latency", "latency_ms"),
    Change("MultiTaskModel", "spec.sla.rollout.steps.1.canary_bp", 50, "steps"),
    Change("MultiTaskModel", "spec.sla.rollout.alpha", 0.5, "spec.sla.rollout.alpha"),
    Change("MultiTaskModel", "spec.sla.rollout.windows", FREEZE, "freezes"),
    Change("MultiTaskModel", "spec.package", {}, "spec.package"),
    Change("MultiTaskModel", "spec.package", {"digest": "5f70"}, "spec.package.digest"),
    Change("MultiTaskModel", "spec.weights", {"click": 1_000}, "spec.weights.click"),
    Change("Rollout", "spec.model", None, "spec.model"),
    Change("Rollout", "spec.version", None, "version or a package"),
    Change("Rollout", "spec.version", 0, "spec.version"),
    Change("Rollout", "spec.package", {"uri": "s3://it"}, "version or a package"),
    Change("Rollout", "spec.plan", {"steps": []}, "spec.plan.steps"),
    Change("Rollout", "spec.plan", {"steps": FALLING}, "spec.plan.steps"),
    Change("Rollout", "spec.plan", {"windows": FREEZE}, "freezes"),
    Change("Rollout", "spec.queue", "often", "spec.queue"),
]
ONLY_THE_OPERATOR = [
    Change("MultiTaskModel", "spec.sla.slices.country", {"values": ["BR"], "depth": 2}, ""),
    Change("MultiTaskModel", "spec.sla.slices.country", {}, ""),
    Change("MultiTaskModel", "spec.sla.slices.a*b*c", ["BR"], ""),
    Change("MultiTaskModel", "spec.sla.guards.0.by", "city", ""),
    Change("MultiTaskModel", "spec.sla.guards.0.metric", "top1", ""),
    Change("MultiTaskModel", "spec.sla.guards.0.metric", "early_auc", ""),
    Change("MultiTaskModel", "spec.sla.tasks.click.given", "click", ""),
    Change("MultiTaskModel", "spec.sla.rollout.windows", {"zone": "Europe/Atlantis"}, ""),
    Change("MultiTaskModel", "spec.sla.rollout.steps.0.needs", ["buy / overall / auc"], ""),
]
"""What Kubernetes takes as it comes, and `read_manifests` and the operator refuse."""


def changed(change: Change) -> dict[str, Any]:
    """A resource that is right but for this. A value of None takes the field away."""
    body = copy.deepcopy(GOOD[change.kind])
    *before, last = (int(step) if step.isdigit() else step for step in change.path.split("."))
    place: Any = body
    for step in before:
        place = place[step]
    if change.value is None:
        del place[last]
    else:
        place[last] = change.value
    return body
