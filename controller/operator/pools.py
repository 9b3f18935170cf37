"""A ServingPool, brought about: its RayService and its Service, and how they are."""

from __future__ import annotations

from typing import Any, NamedTuple

from kubernetes.client.exceptions import ApiException

from controller.operator.cluster import Cluster, Key
from controller.operator.pool import Pool, Redis, Size
from controller.operator.rayservice import objects
from serinus.client.aio.client import AsyncClient
from serinus.resources.metadata import RETIRE, Metadata
from serinus.resources.outcome import Outcome, Told, condition
from serinus.resources.pool import PoolSpec, ServingPool
from serinus.resources.pool import Size as SizeWord

__all__ = ["State", "apply_pool", "delete_pool", "pool_of", "state_of"]

OF_RAY_SERVICE = "ray.io/originated-from-cr-name"
"""Label of KubeRay's on a RayCluster: the RayService that it is of."""


def pool_of(resource: ServingPool, namespace: str, api: str) -> Pool:
    """What the resource asks for, in the words of pods. `api`: URL of the controller, where it names none."""
    spec: PoolSpec = resource.spec
    redis = spec.ray.redis
    return Pool(
        name=resource.metadata.name,
        namespace=namespace,
        image=spec.image,
        api=spec.api or api,
        log_claim=spec.log.claim,
        front_doors=(spec.front_doors.min, spec.front_doors.max),
        candidates=(spec.candidates.min, spec.candidates.max),
        settings=spec.settings,
        grpc=spec.grpc,
        front_door=_size(spec.resources.front_door),
        candidate=_size(spec.resources.candidate),
        shadow=_size(spec.resources.shadow),
        head=_size(spec.resources.head),
        ray_secret=spec.ray.token_secret,
        token_secret=spec.token_secret,
        metrics_secret=spec.metrics_secret,
        redis=None if redis is None else Redis(redis.address, redis.password_secret),
        max_connections=spec.haproxy.max_connections,
        service_type=spec.service.type,
        node_port=spec.service.node_port,
    )


async def apply_pool(cluster: Cluster, resource: ServingPool, api: str) -> Outcome:
    """Apply its objects, each owned by it. Raises ApiException."""
    pool = pool_of(resource, cluster.namespace, api)
    key = Key("RayService", pool.name)
    before = await cluster.get(key)
    for each in objects(pool):
        each["metadata"]["ownerReferences"] = [_owner(resource)]
        await cluster.apply(each)
    now = await cluster.get(key) or {}
    active = (now.get("status", {}).get("activeServiceStatus") or {}).get("rayClusterName")
    ray = await cluster.get(Key("RayCluster", active)) if active else None
    return _outcome(resource, pool, before, now, ray or {})


async def delete_pool(cluster: Cluster, client: AsyncClient, metadata: Metadata) -> Outcome:
    """End its Ray clusters and let it go, unless models serve in it. Raises SerinusError, ApiException."""
    pool, retire = metadata.name, metadata.annotations.get(RETIRE) == "true"
    models = [each.model for each in await client.models() if each.pool == pool and "stable" in each.aliases]
    if not models or retire:
        return await _end(cluster, pool)
    more = f" and {len(models) - 5} more" if len(models) > 5 else ""
    text = f"{', '.join(models[:5])}{more} serve in pool {pool}; to delete it all the same annotate it: {RETIRE}=true"
    conditions = (condition("Degraded", True, "DeletionRefused", text),)
    return Outcome({}, conditions, (Told("DeletionRefused", text, "Warning"),))


async def _end(cluster: Cluster, pool: str) -> Outcome:
    """It stays until its Ray clusters are gone: KubeRay cleans Redis up by a Job, which it cannot start any more once
    the pool's namespace is being deleted too. Then the namespace would stay for ever."""
    key = Key("RayService", pool)
    await cluster.delete(key)
    try:
        left = await cluster.names("RayCluster", f"{OF_RAY_SERVICE}={pool}")
    except ApiException as error:
        if error.status != 404:  # KubeRay is not there, nor anything of it
            raise
        left = []
    if not left and await cluster.get(key) is None:
        return Outcome({}, (), gone=True)
    text = f"until KubeRay has ended {', '.join(left) or f'RayService {pool}'}"
    return Outcome({}, (condition("Progressing", True, "Ends", text),), settled=False)


def _size(word: SizeWord) -> Size:
    return Size(word.cpu, word.memory)


def _owner(resource: ServingPool) -> dict[str, Any]:
    return {
        "apiVersion": resource.apiVersion,
        "kind": resource.kind,
        "name": resource.metadata.name,
        "uid": resource.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


class State(NamedTuple):
    """How a RayService is. `pods`: those that are ready, of those wanted; None before KubeRay counts them."""

    ready: bool
    moving: bool
    pods: str | None
    refused: bool
    trouble: str
    said: str


def state_of(status: dict[str, Any], pods: dict[str, Any], was_ready: bool) -> State:
    """From the status that KubeRay gave it. Ready once every pod is, and then until KubeRay says otherwise.

    `pods`: status of the Ray cluster that serves; the copy of it in a RayService may stay behind for ever.
    KubeRay's own word comes before front doors take requests; and a pod that is lost later takes no other along."""
    states = {each["type"]: each for each in status.get("conditions") or ()}
    ray = states.get("Ready", {})
    wanted, there = pods.get("desiredWorkerReplicas"), pods.get("readyWorkerReplicas", 0)
    said, refused = str(ray.get("message", "")), ray.get("reason") == "ValidationFailed"
    return State(
        ready=ray.get("status") == "True" and (was_ready or (wanted is not None and there >= wanted)),
        moving=states.get("UpgradeInProgress", {}).get("status") == "True",
        pods=None if wanted is None else f"{there}/{wanted}",
        refused=refused,
        trouble=said if refused else _trouble(status),
        said=said,
    )


def _outcome(
    resource: ServingPool, pool: Pool, before: dict[str, Any] | None, now: dict[str, Any], ray: dict[str, Any]
) -> Outcome:
    """`before`, `now`: the RayService; `ray`: the Ray cluster that serves."""
    status, told = now.get("status") or {}, list[Told]()
    known = {each.get("type"): each.get("status") for each in resource.status.get("conditions", ())}
    state = state_of(status, ray.get("status") or {}, known.get("Ready") == "True")
    if before is None:
        told.append(Told("Created", f"RayService {pool.name}"))
    elif _generation(before) != _generation(now):
        told.append(Told("Changed", f"RayService {pool.name}: KubeRay moves to a new Ray cluster where it must"))
    if state.ready and known.get("Ready") != "True":
        told.append(Told("Ready", f"{pool.name} answers"))
    fields = {
        "endpoint": f"http://{pool.name}-serinus.{pool.namespace}:8000",
        "ready": state.pods,
        "service_status": status.get("serviceStatus") or None,
    }
    reason = "Moves" if state.moving else "Settled" if state.ready else "Starts"
    why = "Refused" if state.refused else "Application" if state.trouble else "Well"
    conditions = (
        condition("Ready", state.ready, "Serves" if state.ready else "Starts", state.said),
        condition("Progressing", state.moving or not state.ready, reason),
        condition("Degraded", bool(state.trouble), why, state.trouble),
    )
    return Outcome(fields, conditions, tuple(told), settled=state.ready and not state.moving)


def _trouble(status: dict[str, Any]) -> str:
    """What Ray Serve says of an application that does not come up."""
    for side in ("activeServiceStatus", "pendingServiceStatus"):
        for name, app in ((status.get(side) or {}).get("applicationStatuses") or {}).items():
            if app.get("status") in ("DEPLOY_FAILED", "UNHEALTHY"):
                return f"application {name} is {app['status']}: {app.get('message', '')}"
    return ""


def _generation(body: dict[str, Any]) -> int:
    return int(body.get("metadata", {}).get("generation", 0))
