"""`python -m controller.operator`: bring about what the resources of a namespace ask for, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine, Sequence

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from controller.operator.cluster import Cluster, Key
from controller.operator.following import following
from controller.operator.health import telling
from controller.operator.lease import Lease
from controller.operator.reconcile import Reconciler
from controller.operator.settings import Settings
from controller.operator.todo import Todo
from controller.operator.watching import until_known, watching
from serinus.client.aio.client import AsyncClient
from serinus.errors import SerinusError
from serinus.resources.manifests import KINDS

__all__ = ["main"]

log = logging.getLogger(__name__)
WORKERS = 4
STUCK_S = 120.0
"""One look takes less, or the operator is not well."""


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT, or until one of its parts ends, which is an error."""
    with _connected() as api:
        cluster, stop = Cluster(api, settings.namespace), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        todo, began = Todo[Key](), dict[Key, float]()
        lease = Lease(api, settings.namespace, settings.name, time.time, time.monotonic)
        reconciler = Reconciler(cluster, lambda: AsyncClient(api=settings.api), time.time, settings.api)

        def trouble() -> str:
            stuck = [f"{key.kind} {key.name}" for key, at in began.items() if time.monotonic() - at > STUCK_S]
            return f"for more than {STUCK_S:g} s it looks at {', '.join(stuck)}" if stuck else ""

        def heard(subject: str) -> None:
            for key in reconciler.subjects.get(subject, ()):
                todo.add(key)

        async with telling(settings.host, settings.port, trouble) as port:
            print(f'{{"ready": "operator", "health": {port}}}', flush=True)
            parts = [
                lease.keep(),
                _watch(settings.namespace, cluster, todo, stop),
                following(lambda: AsyncClient(api=settings.api), heard),
                *(_work(todo, lease, reconciler, began) for _ in range(WORKERS)),
            ]
            await _until(stop, parts)
            await lease.give_back()


async def _watch(namespace: str, cluster: Cluster, todo: Todo[Key], stop: asyncio.Event) -> None:
    await until_known(cluster, KINDS)
    kinds = list(KINDS)
    try:
        await cluster.names("RayService")
        kinds.append("RayService")
    except ApiException:
        log.warning("KubeRay is not installed: there are models and rollouts here, but no pools")

    def changed(key: Key) -> None:
        todo.add(Key("ServingPool", key.name) if key.kind == "RayService" else key)

    await watching(namespace, kinds, changed, stop)


async def _work(todo: Todo[Key], lease: Lease, reconciler: Reconciler, began: dict[Key, float]) -> None:
    while True:
        key = await todo.take()
        await lease.held.wait()
        began[key] = time.monotonic()
        try:
            again_s = await reconciler.look(key)
        except SerinusError as error:
            log.warning("%s %s: %s", key.kind, key.name, error.detail)
            todo.failed(key)
        except (ApiException, HTTPError) as error:
            log.warning("%s %s: Kubernetes: %s", key.kind, key.name, getattr(error, "reason", None) or error)
            todo.failed(key)
        except Exception:
            log.exception("%s %s", key.kind, key.name)
            todo.failed(key)
        else:
            todo.done(key, again_s)
        finally:
            del began[key]


async def _until(stop: asyncio.Event, parts: Sequence[Coroutine[None, None, None]]) -> None:
    """Run the parts until `stop`; one that ends by itself ends all, with its error."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    stopped = asyncio.create_task(_wait(stop))
    try:
        await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not stop.is_set():
                task.result()
    finally:
        for task in (*tasks, stopped):
            task.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _connected() -> client.ApiClient:
    """By the account of the pod, else by $KUBECONFIG."""
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
        return client.ApiClient()
    except ConfigException:
        found: client.ApiClient = config.new_client_from_config()  # type: ignore[no-untyped-call]
        return found


def main() -> int:
    """The exit code is 1, after one clear line, when it cannot start."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(run(Settings.from_env(os.environ)))
    except SerinusError as error:
        print(f"operator: {error.detail}; {error.advice}", file=sys.stderr)
        return 1
    except ConfigException as error:
        print(f"operator: no cluster: {error}; set KUBECONFIG", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
