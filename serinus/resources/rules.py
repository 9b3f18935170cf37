"""What Kubernetes checks across fields, in its Common Expression Language; the words check the same, and more."""

from __future__ import annotations

__all__ = ["CHECKED"]

Rules = list[tuple[str, str]]
PACKAGE: Rules = [("has(self.uri) || has(self.digest)", "package needs a uri, a digest, or both")]
STEPS: Rules = [
    ("self.map(step, step.canary_bp).isSorted()", "steps: the shares must not fall, for assignment is monotone")
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
        "spec.sla.tasks.*": [
            (
                "!has(self.early_window_s) || self.early_window_s <= self.label_window_s",
                "early_window_s is longer than label_window_s",
            )
        ],
        "spec.sla.rollout.steps": STEPS,
    },
    "Rollout": {
        "spec": [
            ("self == oldSelf", "the spec of a rollout never changes: apply one of another name"),
            ("has(self.version) != has(self.package)", "a rollout needs either a version or a package"),
        ],
        "spec.package": PACKAGE,
        "spec.plan.steps": STEPS,
    },
}
"""Kind -> path of a field -> rules about it, each with what is said where it does not hold."""
