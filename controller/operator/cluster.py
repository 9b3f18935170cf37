"""Kubernetes' API, as far as the operator needs it. Each call is made in a thread and bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from kubernetes import client
from kubernetes.client.exceptions import ApiException

__all__ = ["MANAGER", "Cluster", "Key"]

MANAGER = "serinus-operator"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TIMEOUT_S = 10.0
CUSTOM = {
    "ServingPool": ("serinus.dev", "v1alpha1", "servingpools"),
    "MultiTaskModel": ("serinus.dev", "v1alpha1", "multitaskmodels"),
    "Rollout": ("serinus.dev", "v1alpha1", "rollouts"),
    "RayService": ("ray.io", "v1", "rayservices"),
    "RayCluster": ("ray.io", "v1", "rayclusters"),
}


class Key(NamedTuple):
    """Which object of the namespace."""

    kind: str
    name: str


class Cluster:
    """One namespace. What fails raises Kubernetes' ApiException, or urllib3's HTTPError where nobody answers."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.namespace = namespace
        self.custom, self.core = client.CustomObjectsApi(api), client.CoreV1Api(api)

    async def get(self, key: Key) -> dict[str, Any] | None:
        """The object as it is now; None where there is none."""
        try:
            found: dict[str, Any] = await self._call(self.custom.get_namespaced_custom_object, *self._place(key))
            return found
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    async def names(self, kind: str, labels: str = "") -> list[str]:
        """Of every object of a kind with these labels. Raises ApiException 404 while the kind is not known."""
        place = (*CUSTOM[kind][:2], self.namespace, CUSTOM[kind][2])
        found = await self._call(self.custom.list_namespaced_custom_object, *place, label_selector=labels)
        return [each["metadata"]["name"] for each in found["items"]]

    async def apply(self, body: dict[str, Any]) -> None:
        """Server-side apply: the fields named are ours, whoever had them."""
        told: dict[str, Any] = {"field_manager": MANAGER, "force": True, "_content_type": APPLY}
        name = body["metadata"]["name"]
        if body["kind"] == "Service":
            await self._call(self.core.patch_namespaced_service, name, self.namespace, body, **told)
            return
        key = Key(body["kind"], name)
        await self._call(self.custom.patch_namespaced_custom_object, *self._place(key), body, **told)

    async def delete(self, key: Key) -> None:
        """Have it deleted, if it is there; what it owns goes after it."""
        try:
            await self._call(self.custom.delete_namespaced_custom_object, *self._place(key))
        except ApiException as error:
            if error.status != 404:
                raise

    async def say(self, key: Key, status: dict[str, Any]) -> None:
        """Its whole status from now on."""
        group, version, _ = CUSTOM[key.kind]
        body = {
            "apiVersion": f"{group}/{version}",
            "kind": key.kind,
            "metadata": {"name": key.name, "namespace": self.namespace},
            "status": status,
        }
        told: dict[str, Any] = {"field_manager": MANAGER, "force": True, "_content_type": APPLY}
        await self._call(self.custom.patch_namespaced_custom_object_status, *self._place(key), body, **told)

    async def hold(self, key: Key, finalizers: list[str], resource_version: str) -> None:
        """Set its finalizers, if it is still as it was read: else ApiException 409."""
        body = {"metadata": {"finalizers": finalizers, "resourceVersion": resource_version}}
        await self._call(self.custom.patch_namespaced_custom_object, *self._place(key), body, _content_type=MERGE)

    async def record(self, event: dict[str, Any]) -> None:
        """An event; the same one again is counted there."""
        try:
            await self._call(self.core.create_namespaced_event, self.namespace, event)
        except ApiException as error:
            if error.status != 409:
                raise
            again = {"lastTimestamp": event["lastTimestamp"]}
            name = event["metadata"]["name"]
            await self._call(self.core.patch_namespaced_event, name, self.namespace, again, _content_type=MERGE)

    def _place(self, key: Key) -> tuple[str, str, str, str, str]:
        group, version, plural = CUSTOM[key.kind]
        return group, version, self.namespace, plural, key.name

    @staticmethod
    async def _call(method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return await asyncio.to_thread(method, *arguments, **options, _request_timeout=TIMEOUT_S)
