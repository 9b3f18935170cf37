"""Which copy of the operator acts: a Lease of Kubernetes that it renews, and loses when it cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

__all__ = ["Lease"]

log = logging.getLogger(__name__)
NAME = "serinus-operator"
LASTS_S, RENEW_S, GIVE_UP_S = 15, 5.0, 10.0
"""Another copy may take it `LASTS_S` after the last renewal; this one stops to act `GIVE_UP_S` after it."""


class Lease:
    """`held`: set while this copy acts. `clock`: Unix seconds; `monotonic`: seconds that never jump."""

    def __init__(
        self,
        api: client.ApiClient,
        namespace: str,
        name: str,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._api, self._namespace, self._me = client.CoordinationV1Api(api), namespace, name
        self._clock, self._monotonic = clock, monotonic
        self._renewed_at: float | None = None
        self._seen: tuple[tuple[Any, ...], float] | None = None
        self.held = asyncio.Event()

    async def keep(self) -> None:
        """Take it when it is free, renew it, without end."""
        while True:
            try:
                mine = await asyncio.wait_for(asyncio.to_thread(self._try), GIVE_UP_S)
            except (ApiException, HTTPError, TimeoutError) as error:
                mine = self.held.is_set() and not self._overdue()
                log.warning(
                    "the lease could not be renewed: %s", str(error).splitlines()[0][:200] if str(error) else error
                )
            if mine != self.held.is_set():
                log.info("this copy %s", "acts from now on" if mine else "does not act any more")
                self.held.set() if mine else self.held.clear()
            await asyncio.sleep(RENEW_S)

    async def give_back(self) -> None:
        """Let another copy take it at once."""
        if not self.held.is_set():
            return
        self.held.clear()
        body = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
        try:
            await asyncio.to_thread(
                self._api.patch_namespaced_lease,
                NAME,
                self._namespace,
                body,
                _content_type="application/merge-patch+json",
                _request_timeout=2.0,
            )
        except (ApiException, HTTPError) as error:
            log.info("the lease could not be given back: %s", error)

    def _overdue(self) -> bool:
        return self._renewed_at is None or self._monotonic() - self._renewed_at > GIVE_UP_S

    def _try(self) -> bool:
        """Whether it is ours now. Raises ApiException, HTTPError."""
        began = self._monotonic()
        try:
            found = self._api.read_namespaced_lease(NAME, self._namespace, _request_timeout=3.0)
        except ApiException as error:
            if error.status != 404:
                raise
            made = client.V1Lease(metadata=client.V1ObjectMeta(name=NAME), spec=self._spec(0))
            return self._written(lambda: self._api.create_namespaced_lease(self._namespace, made), began)
        spec = found.spec or client.V1LeaseSpec()
        ours = spec.holder_identity == self._me
        if not ours and not self._free(spec):
            return False
        changes = int(spec.lease_transitions or 0) + (not ours)
        found.spec = self._spec(changes, since=spec.acquire_time if ours else None)
        return self._written(lambda: self._api.replace_namespaced_lease(NAME, self._namespace, found), began)

    def _free(self, spec: client.V1LeaseSpec) -> bool:
        """Nobody's, or unchanged for as long as it lasts by our own clock: that of another machine may be wrong."""
        if not spec.holder_identity:
            return True
        state = (spec.holder_identity, spec.renew_time, spec.lease_transitions)
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, self._monotonic())
        return self._monotonic() - self._seen[1] > float(spec.lease_duration_seconds or LASTS_S)

    def _written(self, write: Callable[[], object], began: float) -> bool:
        try:
            write()
        except ApiException as error:
            if error.status == 409:  # another copy was faster
                return False
            raise
        self._renewed_at = began
        return True

    def _spec(self, changes: int, since: datetime | None = None) -> client.V1LeaseSpec:
        now = datetime.fromtimestamp(self._clock(), UTC)
        return client.V1LeaseSpec(
            holder_identity=self._me,
            lease_duration_seconds=LASTS_S,
            acquire_time=since or now,
            renew_time=now,
            lease_transitions=changes,
        )
