"""Follows the route tables of the controller: fetches, loads what they name, puts them in force, reports."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from pydantic import ValidationError

from serinus.errors import SerinusError
from serinus.routes import PackageRef, ReplicaReport, RouteTable, Watched, WatchRequest
from serving.applied import Applied, Unfit, apply
from serving.engine import Engine
from serving.routes_cache import RoutesCache
from serving.runtime import load
from serving.settings import Settings

log = logging.getLogger(__name__)
RETRY_LOAD_S = 30.0
MAX_BACK_OFF_S = 5.0


class Follower:
    """`applied`: model -> the table in force, replaced as a whole; `engines`: digest -> engine, all that is loaded.

    A table comes into force once every version of it is loaded; until then, and when one fails, the old one stays."""

    def __init__(
        self, role: str, replica: str, settings: Settings, loader: Callable[[PackageRef], Engine] = load
    ) -> None:
        self.role, self.replica, self._settings, self._loader = role, replica, settings, loader
        self.applied: dict[str, Applied] = {}
        self.engines: dict[str, Engine] = {}
        self.synced = False
        self._reports = 0
        self._failed: dict[str, tuple[str, float]] = {}
        self._pending: dict[str, RouteTable] = {}
        self._known: dict[str, int] = {}
        self._previous: dict[str, RouteTable] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._cache = RoutesCache(settings.routes_cache)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._http = httpx.AsyncClient(base_url=settings.api, timeout=10.0, trust_env=False)

    async def run(self) -> None:
        """Follow for ever; cancel it to stop."""
        for table in await asyncio.to_thread(self._cache.read):
            self.take(Watched(tables=(table,), models=(*self._known, table.model)))
        try:
            await asyncio.gather(self._poll(), self._report_changes(), self._retry_failed())
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)
            await self._http.aclose()

    def report(self) -> ReplicaReport:
        """What this replica says of itself now."""
        self._reports += 1
        return ReplicaReport.model_validate(
            {
                "replica": self.replica,
                "role": self.role,
                "number": self._reports,
                "applied": {model: applied.table.epoch for model, applied in self.applied.items()},
                "loaded": tuple(sorted(self.engines)),
                "failed": {digest: why for digest, (why, _at) in self._failed.items()},
            }
        )

    def take(self, watched: Watched) -> bool:
        """Take an answer of the controller. Tables that are not newer than the known ones are refused.

        Returns whether anything was new."""
        new = False
        for model in set(self._known) - set(watched.models):
            log.warning("model %s is gone", model)
            for tables in (self._known, self._pending, self._previous, self.applied):
                tables.pop(model, None)
            self._cache.remove(model)
            new = True
        for table in watched.tables:
            if table.epoch <= self._known.get(table.model, 0):
                continue
            self._known[table.model], self._pending[table.model] = table.epoch, table
            new = True
        self._advance()
        return new

    def _advance(self) -> None:
        """Put in force what is complete, start to load what is missing, drop what nothing names."""
        for model, table in list(self._pending.items()):
            refs = {table.packages[version].digest: table.packages[version] for version in table.versions()}
            if refs.keys() <= self.engines.keys():
                self._apply(model, table)
            for digest in refs.keys() - self.engines.keys() - self._loading.keys() - self._failed.keys():
                self._loading[digest] = asyncio.create_task(self._load(refs[digest]))
        tables = [*self._pending.values(), *self._previous.values(), *(a.table for a in self.applied.values())]
        named = {table.packages[version].digest for table in tables for version in table.versions()}
        self._failed = {digest: failed for digest, failed in self._failed.items() if digest in named}
        for digest in self.engines.keys() - named:
            del self.engines[digest]
        self._changed.set()

    def _apply(self, model: str, table: RouteTable) -> None:
        try:
            applied = apply(table, self.engines)
        except Unfit as error:
            self._failed[error.digest] = (error.detail, float("inf"))
            return
        if old := self.applied.get(model):
            self._previous[model] = old.table
        self.applied[model] = applied
        del self._pending[model]
        self._cache.write(table)

    async def _load(self, ref: PackageRef) -> None:
        try:
            engine = await asyncio.get_running_loop().run_in_executor(self._thread, self._loader, ref)
            self.engines[ref.digest] = engine
        except (SerinusError, OSError) as error:
            log.warning("package %s cannot be loaded: %s", ref.digest[:12], error)
            self._failed[ref.digest] = (str(error)[:500], time.monotonic() + RETRY_LOAD_S)
        except Exception as error:
            log.exception("package %s cannot be loaded", ref.digest[:12])
            self._failed[ref.digest] = (f"{type(error).__name__}: {error}"[:500], time.monotonic() + RETRY_LOAD_S)
        finally:
            self._loading.pop(ref.digest, None)
        self._advance()

    async def _retry_failed(self) -> None:
        """A store that was away for a moment must not keep a version out for good."""
        while True:
            await asyncio.sleep(1.0)
            due = [digest for digest, (_why, at) in self._failed.items() if time.monotonic() >= at]
            for digest in due:
                del self._failed[digest]
            if due:
                self._advance()

    async def _poll(self) -> None:
        """The long poll, for ever; with back-off while the controller is away."""
        pause_s = 0.2
        while True:
            try:
                asked_at = time.monotonic()
                watched = await self._ask(self._settings.poll_s)
                self.synced, pause_s = True, 0.2
                if not self.take(watched) and time.monotonic() < asked_at + 1.0:
                    await asyncio.sleep(1.0)  # a controller that insists on old tables must not make us spin
            except (httpx.HTTPError, OSError, ValidationError) as error:
                log.warning("the controller cannot be followed: %s", error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                pause_s = min(2 * pause_s, MAX_BACK_OFF_S)

    async def _report_changes(self) -> None:
        """Tell the controller at once what changed here, beside the poll that is waiting."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                self.take_if_new(await self._ask(0.0))
            except (httpx.HTTPError, OSError, ValidationError):
                await asyncio.sleep(1.0)
                self._changed.set()

    def take_if_new(self, watched: Watched) -> None:
        """`take`, unless there is nothing new in it: taking nothing would be a change to report, again and again."""
        fresh = any(table.epoch > self._known.get(table.model, 0) for table in watched.tables)
        if fresh or set(self._known) - set(watched.models):
            self.take(watched)

    async def _ask(self, wait_s: float) -> Watched:
        request = WatchRequest(report=self.report(), known=dict(self._known), wait_s=wait_s)
        answer = await self._http.post(
            f"/v1/pools/{self._settings.pool}/watch",
            content=request.model_dump_json(),
            headers={"content-type": "application/json", "authorization": f"Bearer {self._settings.token()}"},
            timeout=wait_s + 10.0,
        )
        answer.raise_for_status()
        return Watched.model_validate_json(answer.content)
