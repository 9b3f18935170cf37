"""Follows the route tables of the controller: fetches, loads what they name, puts them in force, reports."""

from __future__ import annotations

import asyncio
import logging
import random
import time

import httpx
from pydantic import ValidationError

from serinus.routes import PackageRef, ReplicaReport, ReplicaRole, RouteTable, Watched, WatchRequest
from serving import memory
from serving.applied import Applied, Unfit, apply
from serving.engine import Engine
from serving.holdings import Holdings
from serving.routes_cache import RoutesCache
from serving.runtime import Loader
from serving.settings import Settings

log = logging.getLogger(__name__)
SETTLE_LOOK_S = 0.02
MAX_BACK_OFF_S = 5.0


class Follower:
    """`applied`: model -> the table in force, replaced as a whole; `engines`: digest -> engine, all that is loaded.

    A table comes into force once this process holds what its role needs of it; until then, and when a version fails,
    the old one stays. Where there is no old one, stable alone is enough: a candidate that fails takes nobody along."""

    def __init__(self, role: ReplicaRole, replica: str, settings: Settings) -> None:
        self.role, self.replica, self._settings = role, replica, settings
        self.applied: dict[str, Applied] = {}
        self.synced = False
        self._reports = 0
        self._pending: dict[str, RouteTable] = {}
        self._known: dict[str, int] = {}
        self._previous: dict[str, RouteTable] = {}
        self._changed = asyncio.Event()
        self._cache = RoutesCache(settings.routes_cache)
        self.holdings = Holdings(Loader(settings, self._digests), self._advance)
        self._http = httpx.AsyncClient(base_url=settings.api, timeout=10.0, trust_env=False)

    @property
    def engines(self) -> dict[str, Engine]:
        return self.holdings.engines

    async def run(self) -> None:
        """Follow for ever; cancel it to stop."""
        for table in await asyncio.to_thread(self._cache.read):
            self.take(Watched(tables=(table,), models=(*self._known, table.model)))
        try:
            await asyncio.gather(self._poll(), self._report_changes(), self.holdings.retry_failed())
        finally:
            self.holdings.close()
            await self._http.aclose()

    async def settled(self) -> None:
        """Until it has heard of its models and each is answered here, or cannot be for now."""
        while not (self.synced or self._known) or any(map(self._on_its_way, self._pending.values())):
            await asyncio.sleep(SETTLE_LOOK_S)

    def _on_its_way(self, table: RouteTable) -> bool:
        """Whether a model that is not answered here yet soon will be."""
        return table.model not in self.applied and not self._missing(table) & self.holdings.failed.keys()

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
                "fetched": tuple(sorted(self.holdings.manifests)),
                "failed": self.holdings.failed,
                "resident_bytes": memory.resident_bytes(),
                "free_bytes": memory.free_bytes(),
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
            missing = self._missing(table)
            if not missing:
                self._apply(model, table)
            elif model not in self.applied and self._stable_alone(table, missing):
                self.applied[model] = apply(table, self.engines, self.holdings.manifests)
                self._cache.write(table)
        load: dict[str, PackageRef] = {}
        know: dict[str, PackageRef] = {}
        for table in self._tables():
            needed = table.needed(self.role)
            stable = set(table.stable.values())
            load |= {table.packages[v].digest: table.packages[v] for v in sorted(needed, key=lambda v: v not in stable)}
            know |= {table.packages[v].digest: table.packages[v] for v in self._to_know(table)}
        self.holdings.want(load, know)
        self._changed.set()

    def _tables(self) -> list[RouteTable]:
        """Every table that may be needed at once: in force, on its way, or the one to go back to."""
        applied = [*self.applied.values()]  # at once: threads that fetch ask, too
        return [*(a.table for a in applied), *self._pending.values(), *self._previous.values()]

    def _to_know(self, table: RouteTable) -> set[int]:
        """Versions whose manifest is needed to apply a table: a front door checks inputs for all of them."""
        return table.versions() if self.role == "front" else table.needed(self.role)

    def _missing(self, table: RouteTable) -> set[str]:
        """Digests that are still to be loaded or fetched before the table can be in force here."""
        load = {table.packages[version].digest for version in table.needed(self.role)}
        know = {table.packages[version].digest for version in self._to_know(table)}
        return (load - self.engines.keys()) | (know - self.holdings.manifests.keys())

    def _stable_alone(self, table: RouteTable, missing: set[str]) -> bool:
        """Whether what is missing is the candidate, which failed here: stable answers, also for the canary."""
        stable = {table.packages[version].digest for version in table.stable.values()}
        return self.role == "front" and not stable & missing and missing <= self.holdings.failed.keys()

    def _digests(self) -> set[str]:
        """Every digest that a table of this pool names, here or in the tables that all replicas keep on the disk."""
        return {ref.digest for table in [*self._tables(), *self._cache.read()] for ref in table.packages.values()}

    def _apply(self, model: str, table: RouteTable) -> None:
        try:
            applied = apply(table, self.engines, self.holdings.manifests)
        except Unfit as error:
            self.holdings.fail(error.digest, error.detail)
            return
        if old := self.applied.get(model):
            self._previous[model] = old.table
        self.applied[model] = applied
        del self._pending[model]
        self._cache.write(table)

    async def _poll(self) -> None:
        """The long poll, for ever; with back-off while the controller is away."""
        pause_s = 0.2
        while True:
            try:
                asked_at = time.monotonic()
                long = self.synced  # the first answer is to come at once, also where there is no model
                watched = await self._ask(self._settings.poll_s if long else 0.0)
                self.synced, pause_s = True, 0.2
                if not self.take(watched) and long and time.monotonic() < asked_at + 1.0:
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
