"""The status of a resource as Kubernetes wants it, and events about it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from controller.operator.cluster import MANAGER
from serinus.resources.metadata import Condition
from serinus.resources.outcome import Told

__all__ = ["event_of", "status_of"]

MOST_CHARACTERS = 1_000


def status_of(
    body: dict[str, Any], fields: dict[str, Any], conditions: Iterable[Condition], now: float
) -> dict[str, Any]:
    """The whole status: fields that are None are left out; a condition keeps the time at which it became as it is.

    `body`: the resource as it is. `now`: Unix seconds."""
    generation = int(body["metadata"].get("generation", 0))
    known = {each["type"]: each for each in body.get("status", {}).get("conditions", ())}
    told = [_condition(each, known.get(each.type, {}), generation, now) for each in conditions]
    seen = {each["type"] for each in told}
    kept = [each for kind, each in known.items() if kind not in seen]
    shown = {name: value for name, value in fields.items() if value is not None}
    return {**shown, "observedGeneration": generation, "conditions": sorted([*told, *kept], key=lambda c: c["type"])}


def _condition(each: Condition, before: dict[str, Any], generation: int, now: float) -> dict[str, Any]:
    since = before.get("lastTransitionTime") if before.get("status") == each.status else None
    return {**each.model_dump(), "observedGeneration": generation, "lastTransitionTime": since or _time(now)}


def event_of(body: dict[str, Any], told: Told, now: float) -> dict[str, Any]:
    """Of core/v1. Its name comes from what it says of whom, so that the same one is not told twice."""
    metadata = body["metadata"]
    what = f"{metadata['uid']}\n{told.type}\n{told.reason}\n{told.text}"
    return {
        "metadata": {"name": f"{metadata['name'][:40]}.{hashlib.sha256(what.encode()).hexdigest()[:16]}"},
        "involvedObject": {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            **{name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
        },
        "type": told.type,
        "reason": told.reason,
        "message": told.text[:MOST_CHARACTERS],
        "source": {"component": MANAGER},
        "firstTimestamp": _time(now),
        "lastTimestamp": _time(now),
        "count": 1,
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
