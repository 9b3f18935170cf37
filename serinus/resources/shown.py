"""What the controller knows, written as resources: as one would find them in a cluster."""

from __future__ import annotations

import time
from typing import Any

from serinus.client.aio.client import AsyncClient
from serinus.client.views import ModelView
from serinus.errors import NotFound
from serinus.resources.metadata import API_VERSION
from serinus.resources.models import look_at_model
from serinus.resources.outcome import Outcome
from serinus.resources.rollouts import look_at_rollout
from serinus.rollouts import RolloutView

__all__ = ["shown"]


async def shown(client: AsyncClient, kind: str, name: str | None = None) -> list[dict[str, Any]]:
    """The resources of a kind, or that of one name; of rollouts also those of a model. Raises NotFound.

    Applied again, a model changes nothing, and a rollout that was begun by a resource begins nothing."""
    match kind:
        case "MultiTaskModel":
            views = [await client.model(name)] if name else await client.models()
            return [_model(view, await look_at_model(client, view.model)) for view in views]
        case "Rollout":
            return [_rollout(view, await look_at_rollout(client, view)) for view in await _rollouts(client, name)]
    return _pools(await client.status(), name)


async def _rollouts(client: AsyncClient, which: str | None) -> list[RolloutView]:
    if which is None:
        return await client.rollouts()
    try:
        return [await client.rollout(which)]
    except NotFound:
        return await client.rollouts(which)


def _resource(kind: str, metadata: dict[str, Any], spec: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    status = {name: value for name, value in outcome.status.items() if value is not None}
    conditions = [each.model_dump() for each in outcome.conditions]
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": {**status, "conditions": conditions},
    }


def _model(view: ModelView, outcome: Outcome) -> dict[str, Any]:
    spec: dict[str, Any] = {"pool": view.pool}
    if view.sla is not None:
        spec["sla"] = view.sla.model_dump(mode="json", exclude_defaults=True, exclude={"model"})
    if view.signed_by:
        spec["signed_by"] = list(view.signed_by)
    return _resource("MultiTaskModel", {"name": view.model}, spec, outcome)


def _rollout(view: RolloutView, outcome: Outcome) -> dict[str, Any]:
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(view.started_at))
    name = f"{view.model[:30].replace('_', '-')}-{view.id}"  # one that Kubernetes takes
    metadata = {"name": name, "creationTimestamp": began}
    if view.key is not None:
        metadata["uid"] = view.key
    spec: dict[str, Any] = {"model": view.model, "version": view.candidate}
    spec["plan"] = view.plan.model_dump(mode="json", exclude_defaults=True)
    if view.reason:
        spec["reason"] = view.reason
    return _resource("Rollout", metadata, spec, outcome)


def _pools(status: dict[str, Any], name: str | None) -> list[dict[str, Any]]:
    """A pool as far as the controller sees it: by its replicas, and by the models that are to be served there."""
    replicas = status["replicas"]
    names = {each["pool"] for each in (*status["models"], *replicas)}
    if name is not None and name not in names:
        raise NotFound(f"there is no pool {name!r}", "`serinus get pools` lists those that are there")
    found = []
    for pool in sorted(names if name is None else {name}):
        own = [each for each in replicas if each["pool"] == pool]
        live = sum(each["live"] for each in own)
        answers = any(each["live"] and each["role"] == "front" for each in own)
        ready = {"type": "Ready", "status": str(answers), "reason": "Serves" if answers else "NoFrontDoor"}
        found.append(
            {
                "apiVersion": API_VERSION,
                "kind": "ServingPool",
                "metadata": {"name": pool},
                "status": {"ready": f"{live}/{len(own)}", "conditions": [ready]},
            }
        )
    return found
