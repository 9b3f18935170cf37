"""Ray's head lost under load: without Redis, with it, and the pool's move to another Ray cluster between the two.

Outages are measured here, not asserted: HEADS=1 adds these steps, which take five minutes."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.kube_e2e.cluster import NAMESPACE, Cluster, NotRun, until
from tests.kube_e2e.install import delete_pod, is_ready, ready
from tests.kube_e2e.rolled import ROLE
from tests.kube_e2e.serving import POOL, Served
from tests.kube_e2e.story import Story

__all__ = ["heads", "moved"]

IMAGE = "serinus.local/redis:e2e"
DOCKERFILE = """FROM python:3.11-slim-bookworm
RUN apt-get update -q && apt-get install -q -y --no-install-recommends redis-server
USER 1000:1000
"""
START = 'exec redis-server --dir /data --protected-mode no --requirepass "$(cat /word/password)"'
WATCHED_S = 100.0
"""A head that is lost for 60 s takes the workers along, where nothing keeps what it knew."""


def heads(story: Story, it: Served) -> None:
    story.step("again an open loop of requests", it.begin_load, after=("a new model, to its first answer",))
    loop = ("again an open loop of requests",)
    story.step("the head deleted, no Redis", lambda: _lost(it, WATCHED_S), after=loop)
    story.step("Redis for the head: another Ray cluster, the old one goes", lambda: _with_redis(it), after=loop)
    story.step(
        "the head deleted, with Redis",
        lambda: _lost(it, WATCHED_S),
        after=("Redis for the head: another Ray cluster, the old one goes",),
    )
    if it.load is not None:
        it.load.stop()


def _lost(it: Served, watched_s: float) -> str:
    assert it.load is not None
    since, began = len(it.load.outcomes), time.monotonic()
    gone = delete_pod(it.cluster, ROLE.format("head"))

    def back() -> bool:
        pods = it.cluster.get("pods", "--selector", ROLE.format("head"))["items"]
        return bool(pods) and gone not in {pod["metadata"]["name"] for pod in pods} and all(map(is_ready, pods))

    until("another head", 240, back)
    again = time.monotonic() - began
    until("all pods of the pool", 240, lambda: time.monotonic() - began > watched_s and it.all_ready())
    return f"{it.loss(since)}; another head ready after {again:.1f} s"


def _with_redis(it: Served) -> str:
    _redis(it.cluster)
    return moved(it, {"ray": {"redis": {"address": "redis:6379", "password_secret": "serinus-redis"}}})


def moved(it: Served, change: dict[str, Any]) -> str:
    """Change the pool's spec so that KubeRay starts a second Ray cluster beside the first, then points the Service to
    it: until the old one is gone, and what the open loop saw meanwhile."""
    assert it.load is not None
    since, began = len(it.load.outcomes), time.monotonic()
    before = it.cluster.get("rayservice", POOL)["status"]["activeServiceStatus"]["rayClusterName"]
    it.cluster.kubectl("patch", f"pool/{POOL}", "--type=merge", "-p", json.dumps({"spec": change}))

    def points_there() -> bool:
        status = it.cluster.get("rayservice", POOL)["status"]
        return bool(status["activeServiceStatus"]["rayClusterName"] != before)

    until("another Ray cluster", 300, points_there)
    took = time.monotonic() - began
    until("the old one to go", 300, it.all_ready)
    return f"{it.loss(since)}; moved after {took:.1f} s"


def _redis(cluster: Cluster) -> None:
    """With a password and an image of our own, for the cluster pulls none."""
    if cluster.kit is None:
        raise NotRun("a cluster of $KUBECONFIG needs a Redis of yours")
    archive = Path("/tmp/serinus-e2e-redis.tar")
    _run("buildah", "build", "--network", "host", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", "-t", IMAGE, "-",
         text=DOCKERFILE)  # fmt: skip
    _run("buildah", "push", IMAGE, f"docker-archive:{archive}:{IMAGE}")
    cluster.load(archive)
    archive.unlink()
    labels = {"app": "redis"}
    word = [{"name": "password", "secret": {"secretName": "serinus-redis"}}, {"name": "data", "emptyDir": {}}]
    container = {
        "name": "redis",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", START],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        },
        "volumeMounts": [{"name": "password", "mountPath": "/word"}, {"name": "data", "mountPath": "/data"}],
    }  # fmt: skip
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}
        },
        "containers": [container],
        "volumes": word,
    }  # fmt: skip
    own = {"name": "redis", "namespace": NAMESPACE}
    template = {"metadata": {"labels": labels}, "spec": pod}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {**own, "name": "serinus-redis"},
         "stringData": {"password": secrets.token_urlsafe(16)}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": own,
         "spec": {"selector": {"matchLabels": labels}, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "metadata": own,
         "spec": {"selector": labels, "ports": [{"port": 6379}]}},
    )  # fmt: skip
    ready(cluster, "redis")


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-500:]
