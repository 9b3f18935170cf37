"""One resource looked at: read afresh, brought about, its status written. Safe to end between any two lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kubernetes.client.exceptions import ApiException
from pydantic import ValidationError

from controller.operator.cluster import Cluster, Key
from controller.operator.pools import apply_pool, delete_pool
from controller.operator.statuses import event_of, status_of
from serinus.client.aio.client import AsyncClient
from serinus.errors import BadInput, SerinusError
from serinus.resources.manifests import AnyResource, resource_of
from serinus.resources.metadata import FINALIZER, Metadata
from serinus.resources.model import MultiTaskModel
from serinus.resources.models import apply_model, delete_model
from serinus.resources.outcome import Outcome, Told, failed
from serinus.resources.pool import ServingPool
from serinus.resources.rollout import Rollout
from serinus.resources.rollouts import apply_rollout, delete_rollout

__all__ = ["Reconciler"]

log = logging.getLogger(__name__)
SOON_S, LATER_S = 3.0, 60.0
"""When something that goes on is looked at again, and when something that seems settled is."""


class Reconciler:
    """`client`: makes a client of the controller, with its token as it is now. `clock`: Unix seconds.

    `subjects`: what the controller's events speak of -> the resources that it concerns."""

    def __init__(
        self, cluster: Cluster, client: Callable[[], AsyncClient], clock: Callable[[], float], api: str
    ) -> None:
        self._cluster, self._client, self._clock, self._api = cluster, client, clock, api
        self.subjects: dict[str, tuple[Key, ...]] = {}

    async def look(self, key: Key) -> float | None:
        """Seconds until it is to be looked at again; None: when something changes.

        Raises ApiException, HTTPError, SerinusError when that did not go well: then after a while."""
        body = await self._cluster.get(key)
        if body is None:
            self.subjects = {subject: of for subject, of in self.subjects.items() if of[0] != key}
            return None
        metadata = Metadata.model_validate(body["metadata"])
        if metadata.deleting:
            return await self._let_go(key, body, metadata)
        if FINALIZER not in metadata.finalizers:
            await self._cluster.hold(key, [*metadata.finalizers, FINALIZER], metadata.resource_version)
            body = await self._cluster.get(key) or body
        try:
            resource = resource_of(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"])
            await self._tell(key, body, failed(BadInput(f"{where}: {first['msg']}", "mend the resource"), {}))
            return None
        outcome = await self._brought_about(key, body, resource)
        self._remember(key, resource, outcome)
        await self._tell(key, body, outcome)
        if not outcome.settled:
            return SOON_S
        return None if key.kind == "Rollout" else LATER_S

    async def _brought_about(self, key: Key, body: dict[str, Any], resource: AnyResource) -> Outcome:
        try:
            if isinstance(resource, ServingPool):
                return await apply_pool(self._cluster, resource, self._api)
            async with self._client() as client:
                if isinstance(resource, MultiTaskModel):
                    return await apply_model(client, resource)
                return await apply_rollout(client, resource)
        except SerinusError as error:
            await self._tell(key, body, failed(error, _fields(body)))
            raise
        except ApiException as error:
            why = BadInput(f"Kubernetes refuses what the pool needs: {_first_line(error)}", "mend the resource")
            await self._tell(key, body, failed(why, _fields(body)))
            raise

    async def _let_go(self, key: Key, body: dict[str, Any], metadata: Metadata) -> float | None:
        if FINALIZER not in metadata.finalizers:
            return None
        try:
            async with self._client() as client:
                match key.kind:
                    case "ServingPool":
                        outcome = await delete_pool(self._cluster, client, metadata)
                    case "MultiTaskModel":
                        outcome = await delete_model(client, metadata)
                    case _:
                        outcome = await delete_rollout(client, metadata.uid)
        except SerinusError as error:
            await self._tell(key, body, failed(error, _fields(body)))
            raise
        if not outcome.gone:
            await self._tell(key, body, outcome)
            return LATER_S if outcome.settled else SOON_S
        for told in outcome.told:
            await self._cluster.record(event_of(body, told, self._clock()))
        left = [each for each in metadata.finalizers if each != FINALIZER]
        await self._cluster.hold(key, left, metadata.resource_version)
        return None

    async def _tell(self, key: Key, body: dict[str, Any], outcome: Outcome) -> None:
        """Events first: what happened is told twice rather than never."""
        before = body.get("status", {})
        for told in outcome.told:
            if told.type == "Normal" or not _known(before, told):
                await self._cluster.record(event_of(body, told, self._clock()))
        status = status_of(body, outcome.status, outcome.conditions, self._clock())
        if status != before:
            await self._cluster.say(key, status)

    def _remember(self, key: Key, resource: AnyResource, outcome: Outcome) -> None:
        """A rollout moves what its model says as well."""
        if isinstance(resource, MultiTaskModel):
            self.subjects[f"models/{key.name}"] = (key,)
        if isinstance(resource, Rollout) and (rollout := outcome.status.get("id")):
            self.subjects[f"rollouts/{rollout}"] = (key, Key("MultiTaskModel", resource.spec.model))


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    """What its status says already, but the conditions."""
    return {name: value for name, value in body.get("status", {}).items() if name != "conditions"}


def _known(status: dict[str, Any], told: Told) -> bool:
    """Whether a condition says just this already: what fails again and again is told once."""
    return any(each["reason"] == told.reason and each["message"] == told.text for each in status.get("conditions", ()))


def _first_line(error: ApiException) -> str:
    return str(error.body or error.reason or error)[:500]
