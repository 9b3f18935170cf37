"""Garbage is taken away now and then, by whichever controller carries the rollouts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from controller.database import Database
from controller.garbage import Collected, collect
from controller.store import PackageStore

__all__ = ["Sweeping"]

log = logging.getLogger(__name__)


class Sweeping:
    """`clock`: wall time, Unix seconds. `every_s`: seconds between two collections; 0: never.

    `active`: whether this controller has the lease. A collection beside another is safe, only of no use."""

    def __init__(
        self,
        db: Database,
        store: PackageStore,
        clock: Callable[[], float],
        *,
        every_s: float,
        active: Callable[[], bool],
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.db, self.store, self.clock = db, store, clock
        self.every_s, self.active, self.ticks = every_s, active, ticks
        self._last = float("-inf")

    def turn(self) -> Collected | None:
        """What was taken away; None when it was not time, or another controller's work.

        One that fails is tried again after `every_s`: a store that is away is not asked each minute. May take long:
        never on the reconciler's thread."""
        if not self.every_s or not self.active() or self.ticks() - self._last < self.every_s:
            return None
        self._last = self.ticks()
        found = collect(self.db, self.store, self.clock(), dry_run=False, actor="controller")
        if found.packages or found.uploads:
            log.info("garbage: %d packages and %d uploads were removed", len(found.packages), len(found.uploads))
        return found
