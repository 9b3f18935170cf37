"""A pool as Kubernetes objects: one RayService of KubeRay, and one Service for those who ask. Pure.

They depend on the pool alone, so no model, version or rollout ever changes them. Whatever changes in them but the
Serve part makes KubeRay start a second Ray cluster and move over."""

from __future__ import annotations

from typing import Any

import yaml

from controller.operator.pool import Pool, Size
from controller.operator.pool_environment import LOG, METRICS, METRICS_PORT, STATE, TOKEN, environment

__all__ = ["objects"]

RAY = "2.60.0"
HTTP, GRPC = 8000, 9000
GRACE_S = 12
"""A pod of Ray takes all of it, for it heeds no SIGTERM: meanwhile HAProxy serves the connections that are open."""
NON_ROOT = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}
LOCKED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
FRONT, CANDIDATE, SHADOW, HEAD = "front-door", "candidate", "shadow", "head"


def objects(pool: Pool) -> list[dict[str, Any]]:
    """What is to be applied. The same pool gives the same objects, to the letter."""
    return [ray_service(pool), service(pool)]


def ray_service(pool: Pool) -> dict[str, Any]:
    """The RayService. It has Serve's part as YAML text, as KubeRay wants it."""
    cluster: dict[str, Any] = {
        "rayVersion": RAY,
        "authOptions": {"mode": "token", "secretName": pool.ray_secret},
        "headGroupSpec": _head(pool),
        "workerGroupSpecs": [
            _workers(pool, FRONT, pool.front_doors, pool.front_door),
            _workers(pool, CANDIDATE, pool.candidates, pool.candidate),
            _workers(pool, SHADOW, (1, 1), pool.shadow),
        ],
    }
    if _scales(pool):
        cluster |= {"enableInTreeAutoscaling": True, "autoscalerOptions": {"version": "v2", "securityContext": LOCKED}}
    if pool.redis is not None:
        password = {"secretKeyRef": {"name": pool.redis.password_secret, "key": "password"}}
        cluster["gcsFaultToleranceOptions"] = {
            "redisAddress": pool.redis.address,
            "redisPassword": {"valueFrom": password},
        }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": pool.name, "namespace": pool.namespace, "labels": _labels(pool)},
        "spec": {
            "excludeHeadPodFromServeSvc": True,
            "serveConfigV2": yaml.safe_dump(_serve(pool), sort_keys=True),
            "rayClusterConfig": cluster,
        },
    }


def service(pool: Pool) -> dict[str, Any]:
    """Where clients ask. It selects pods of both Ray clusters while KubeRay moves from one to the other."""
    http: dict[str, Any] = {"name": "http", "port": HTTP, "targetPort": HTTP}
    if pool.node_port is not None:
        http["nodePort"] = pool.node_port
    ports = [http, *([{"name": "grpc", "port": GRPC, "targetPort": GRPC}] if pool.grpc else [])]
    chosen = {"ray.io/serve": "true", "serinus.dev/pool": pool.name, "serinus.dev/role": FRONT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{pool.name}-serinus", "namespace": pool.namespace, "labels": _labels(pool)},
        "spec": {"type": pool.service_type, "selector": chosen, "ports": ports},
    }


def _serve(pool: Pool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": HTTP},  # noqa: S104 (of a pod; a network policy fences it)
        "logging_config": {"enable_access_log": False, "log_level": "WARNING"},
        "applications": [
            {"name": "serinus", "route_prefix": "/", "import_path": "serving.on_ray:application_from_env"}
        ],
    }
    if pool.grpc:
        told["grpc_options"] = {"port": GRPC, "grpc_servicer_functions": ["serving.grpc_service.add_to_server"]}
    return told


def _head(pool: Pool) -> dict[str, Any]:
    """Ray's own processes; no replica runs there, for it has no unit of any role."""
    start = {"num-cpus": "0", "dashboard-host": "0.0.0.0", "object-store-memory": "104857600"}  # noqa: S104
    ports = [_port("gcs-server", 6379), _port("dashboard", 8265), _port("client", 10001)]
    ports.append(_port("serve", HTTP))  # KubeRay makes its Service from it; the head is not in it
    return {"rayStartParams": start, "template": _pod(pool, HEAD, pool.head, {"name": "ray-head", "ports": ports})}


def _workers(pool: Pool, role: str, pods: tuple[int, int], size: Size) -> dict[str, Any]:
    """Pods for replicas of one role: Ray knows of one unit of its resource in each, so one replica is in each."""
    path, port = ("/-/healthz", HTTP) if role == FRONT else ("/api/local_raylet_healthz", 52365)
    probe = {"httpGet": {"path": path, "port": port}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 1}
    ports = [
        _port("serve", HTTP),
        _port("serinus", METRICS_PORT),
        *([_port("grpc", GRPC)] if pool.grpc and role == FRONT else []),
    ]
    container = {"name": "ray-worker", "ports": ports, "readinessProbe": probe}
    return {
        "groupName": role,
        "replicas": pods[0],
        "minReplicas": pods[0],
        "maxReplicas": pods[1],
        "rayStartParams": {"object-store-memory": "104857600"},
        "resources": {"CPU": "1", role.replace("-", "_"): "1"},
        "template": _pod(pool, role, size, container),
    }


def _pod(pool: Pool, role: str, size: Size, container: dict[str, Any]) -> dict[str, Any]:
    folders = {"tmp": "/tmp", "home": "/home/serinus", "state": STATE}  # noqa: S108 (an emptyDir of this pod)
    mounts: list[dict[str, Any]] = [{"name": name, "mountPath": path} for name, path in folders.items()]
    mounts += [{"name": "log", "mountPath": LOG}, {"name": "token", "mountPath": TOKEN, "readOnly": True}]
    mounts.append({"name": "metrics", "mountPath": METRICS, "readOnly": True})
    need = {"cpu": size.cpu, "memory": size.memory}
    return {
        "metadata": {"labels": {**_labels(pool), "serinus.dev/role": role}},
        "spec": {
            **_account(pool, role),
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_S,
            "priorityClassName": "serinus-candidate" if role in (CANDIDATE, SHADOW) else "serinus-front-door",
            "securityContext": {**NON_ROOT, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    **container,
                    "image": pool.image,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": name, "value": value} for name, value in environment(pool).items()],
                    "resources": {"requests": need, "limits": {"memory": size.memory}},
                    "securityContext": LOCKED,
                    "volumeMounts": mounts,
                }
            ],
            "volumes": [
                *({"name": name, "emptyDir": {}} for name in folders),
                {"name": "log", "persistentVolumeClaim": {"claimName": pool.log_claim}},
                {"name": "token", "secret": {"secretName": pool.token_secret, "defaultMode": 0o440}},
                {"name": "metrics", "secret": {"secretName": pool.metrics_secret, "defaultMode": 0o440}},
            ],
        },
    }


def _account(pool: Pool, role: str) -> dict[str, Any]:
    """Ray's autoscaler, in the head's pod, asks Kubernetes for pods, with the account that KubeRay makes for it."""
    if role == HEAD and _scales(pool):
        return {"automountServiceAccountToken": True}
    return {"automountServiceAccountToken": False, "serviceAccountName": "serinus-pool"}


def _scales(pool: Pool) -> bool:
    return pool.front_doors[0] < pool.front_doors[1] or pool.candidates[0] < pool.candidates[1]


def _labels(pool: Pool) -> dict[str, str]:
    return {"serinus.dev/pool": pool.name}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number}
