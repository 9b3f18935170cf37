"""What changes in the namespace, watched by kopf, which is given no say in anything: it writes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import kopf
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from controller.operator.cluster import CUSTOM, Cluster, Key

__all__ = ["until_known", "watching"]

log = logging.getLogger(__name__)
LOOK_S = 1.0


async def until_known(cluster: Cluster, kinds: Iterable[str]) -> None:
    """Wait until the API server knows these kinds: they may be applied after the operator."""
    for kind in kinds:
        said = ""
        while True:
            try:
                await cluster.names(kind)
                break
            except (ApiException, HTTPError) as error:
                why = f"waiting for {kind}: {getattr(error, 'reason', None) or error}"
                if why != said:
                    log.info("%s", why)
                    said = why
            await asyncio.sleep(LOOK_S)


async def watching(namespace: str, kinds: Iterable[str], changed: Callable[[Key], None], stop: asyncio.Event) -> None:
    """Call `changed` for every object that is there, and at every change of one; until `stop`."""
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.watching.server_timeout = 120
    settings.watching.client_timeout = 150
    settings.networking.error_backoffs = [1, 1, 2, 3] + [5] * 200

    @kopf.on.login(registry=registry)
    def login(**told: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**told) or kopf.login_with_kubeconfig(**told)

    for kind in kinds:
        group, version, plural = CUSTOM[kind]

        @kopf.on.event(group, version, plural, registry=registry)
        async def tell(body: kopf.Body, kind: str = kind, **_: Any) -> None:
            changed(Key(kind, body["metadata"]["name"]))

    await kopf.operator(registry=registry, settings=settings, standalone=True, namespaces=[namespace], stop_flag=stop)
