"""What Kubernetes checks across fields, in its Common Expression Language; the words check the same, and more."""

from __future__ import annotations

__all__ = ["CHECKED"]

Rules = list[tuple[str, str]]
PACKAGE: Rules = [("has(self.uri) || has(self.digest)", "package needs a uri, a digest, or both")]
STEPS: Rules = [
    ("self.map(step, step.canary_bp).isSorted()", "steps: the shares must not fall, for assignment is monotone")
]
FREEZE: Rules = [("self.start < self.end", "a freeze must end after it starts")]
TASK: Rules = [
    (
        "!has(self.early_window_s) || self.early_window_s <= self.label_window_s",
        "early_window_s is longer than label_window_s",
    ),
    (
        "!has(self.kind) || self.kind != 'multiclass' || self.absent != 'negative'",
        "absent: of a multiclass task no class is the negative one; say unlabelled",
    ),
]
SLA: Rules = [
    ("!has(self.tick_s) || 86400 % self.tick_s == 0", "tick_s: a day must be a whole number of ticks"),
    (
        "self.tasks.all(name, !has(self.tasks[name].given) || "
        "self.tasks[name].given.replace('not ', '') in self.tasks)",
        "given names no task of this SLA",
    ),
    (
        "!has(self.guards) || self.guards.all(guard, guard.task in self.tasks)",
        "guards: task is none of this SLA",
    ),
    (
        "!has(self.guards) || size(self.guards) == 0 || self.guards.exists(guard, (!has(guard.role) || guard.role == "
        "'required') && (!has(guard.dry_run) || !guard.dry_run))",
        "guards: none is required, so every version would be promoted",
    ),
    (
        "!has(self.guards) || has(self.latency_ms) || self.guards.all(guard, guard.metric != 'latency')",
        "guards: latency needs latency_ms, the time an answer may take",
    ),
]
CHECKED: dict[str, dict[str, Rules]] = {
    "ServingPool": {
        "spec.front_doors": [("self.min <= self.max", "front_doors: min is more than max")],
        "spec.candidates": [("self.min <= self.max", "candidates: min is more than max")],
        "spec.service": [
            ("!has(self.node_port) || self.type == 'NodePort'", "service: node_port is there only for type NodePort")
        ],
    },
    "MultiTaskModel": {
        "": [
            (
                "!has(self.spec.sla.model) || self.spec.sla.model == self.metadata.name",
                "spec.sla.model: it is not the resource's name; leave it out",
            )
        ],
        "spec.package": PACKAGE,
        "spec.sla": SLA,
        "spec.sla.tasks.*": TASK,
        "spec.sla.rollout.steps": STEPS,
        "spec.sla.rollout.windows.freezes.[]": FREEZE,
    },
    "Rollout": {
        "spec": [
            ("self == oldSelf", "the spec of a rollout never changes: apply one of another name"),
            ("has(self.version) != has(self.package)", "a rollout needs either a version or a package"),
        ],
        "spec.package": PACKAGE,
        "spec.plan.steps": STEPS,
        "spec.plan.windows.freezes.[]": FREEZE,
    },
}
"""Kind -> path of a field -> rules about it, each with what is said where it does not hold."""
