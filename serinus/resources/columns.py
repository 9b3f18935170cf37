"""How resources are listed: the same columns by `kubectl get` and by `serinus get`."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["COLUMNS", "NAMES", "cell"]

READY = ".status.conditions[?(@.type=='Ready')].status"
COLUMNS = {
    "ServingPool": [
        ("Ready", "string", READY, 0),
        ("Pods", "string", ".status.ready", 0),
        ("Endpoint", "string", ".status.endpoint", 0),
        ("Image", "string", ".spec.image", 1),
    ],
    "MultiTaskModel": [
        ("Pool", "string", ".spec.pool", 0),
        ("Stable", "integer", ".status.stable", 0),
        ("Ready", "string", READY, 0),
        ("Alerts", "integer", ".status.alerts", 0),
        ("Rollout", "string", ".status.rollout", 1),
        ("Digest", "string", ".status.digest", 1),
    ],
    "Rollout": [
        ("Model", "string", ".spec.model", 0),
        ("Version", "integer", ".status.model_version", 0),
        ("Phase", "string", ".status.phase", 0),
        ("Step", "integer", ".status.step", 0),
        ("Of", "integer", ".status.steps", 0),
        ("Canary", "string", ".status.canary", 0),
        ("Verdict", "string", ".status.verdict", 0),
        ("Violated", "string", ".status.violated[0]", 0),
        ("Waiting for", "string", ".status.waiting_for", 1),
        ("Id", "string", ".status.id", 1),
    ],
}
NAMES = {
    "ServingPool": ("servingpools", "servingpool", "pool"),
    "MultiTaskModel": ("multitaskmodels", "multitaskmodel", "mtm"),
    "Rollout": ("rollouts", "rollout", "ro"),
}
"""Kind -> its plural, its singular, its short name."""


def cell(body: dict[str, Any], path: str) -> Any:
    """What stands in a column: the value at `path`, in the form that Kubernetes' printer columns have; None: nothing.

    `.spec.model`, `.status.violated[0]`, `.status.conditions[?(@.type=='Ready')].status`."""
    value: Any = body
    for name, place, wanted in re.findall(r"\.(\w+)(?:\[(\d+)\]|\[\?\(@\.type=='(\w+)'\)\])?", path):
        value = value.get(name) if isinstance(value, dict) else None
        if place:
            value = value[int(place)] if value and len(value) > int(place) else None
        if wanted:
            value = next((each for each in value or () if each["type"] == wanted), None)
    return value
