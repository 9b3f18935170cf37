"""The loop that carries rollouts forward: one thread a process, one active reconciler a database.

It is told of what changed, and looks at those rollouts at once; every FULL_S it looks at all, whatever it was told."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from controller import leases
from controller.advance import advance
from controller.database import Database
from controller.glance import stirred
from controller.queueing import turns
from controller.routes import UriOf
from controller.tables import Model, Route
from serinus.errors import SerinusError, Stale

__all__ = ["Reconciler"]

log = logging.getLogger(__name__)
EVERY_S = 0.5
FULL_S = 1.0
"""Wall seconds between looks at all rollouts: what the clock alone brings about is as late as that at most."""
LEAST_S = 0.2
"""Between looks at all, however often something that concerns all changes (replicas that come and go)."""
HEAR_S = 5.0
"""Between looks for tables of other controllers while they are told besides; else EVERY_S."""
MOVES = 50
"""More moves than any plan has in a row: a loop beyond them would be a fault of ours."""
Models = Collection[str] | None
"""None: all."""


class Reconciler:
    """`nudge` wakes it. `ring` is called with the pool of a route table that another process changed.

    `clock` gives wall time in Unix seconds. `deaf`: whether changes of other processes have to be looked for.
    `turning` is entered for each turn, `decided` is called with each rollout that has moved: both for counting."""

    def __init__(
        self,
        db: Database,
        uri_of: UriOf,
        clock: Callable[[], float],
        ring: Callable[[str], object],
        deaf: Callable[[], bool] = lambda: True,
        *,
        turning: Callable[[], AbstractContextManager[None]] = nullcontext,
        decided: Callable[[str], object] = str,
    ) -> None:
        self.db, self.uri_of, self.clock, self.ring, self.deaf = db, uri_of, clock, ring, deaf
        self.turning, self.decided = turning, decided
        self.holder = uuid.uuid4().hex
        self.active = False
        self._awake, self._stop = threading.Event(), threading.Event()
        self._due, self._lock = set[str](), threading.Lock()
        self._full_at = self._heard_at = float("-inf")
        self._why = self._unfit = ""
        self.turns = 0
        self._epochs: dict[tuple[str, str], int] | None = None
        self._thread = threading.Thread(target=self._loop, name="reconciler", daemon=True)

    def round(self, models: Models = None) -> int:
        """Carry every rollout (of these models) that goes on, or may begin, as far as the facts allow.

        Gives how many steps were taken; 0 without the lease."""
        self.active = leases.hold(self.db, self.holder, self.clock())
        if not self.active:
            return 0
        with self.db.read() as session:
            ids = [*stirred(session, self.clock(), models), *turns(session)]
        steps = {rollout_id: self._carry(rollout_id) for rollout_id in ids}
        for rollout_id in (each for each, taken in steps.items() if taken):
            self.decided(rollout_id)
        return sum(steps.values())

    def _carry(self, rollout_id: str) -> int:
        for steps in range(MOVES):
            try:
                if not advance(self.db, rollout_id, self.uri_of, self.clock(), lease=self.holder):
                    return steps
            except Stale:
                return steps
            except SQLAlchemyError:
                raise  # the database fails, for the others as well
            except SerinusError:
                log.exception("rollout %s could not be carried forward", rollout_id)
                return steps
            except Exception:
                log.exception("rollout %s: a fault of ours; the others go on", rollout_id)
                return steps
        log.error("rollout %s did not come to rest in %d steps", rollout_id, MOVES)
        return MOVES

    def nudge(self, model: str = "") -> None:
        """What decisions about this model rest on has changed; "": about any."""
        with self._lock:
            self._due.add(model)
        self._awake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the loop after its present step and give the lease back."""
        self._stop.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        with suppress(SQLAlchemyError):  # it lapses by itself
            leases.release(self.db, self.holder, self.clock())

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.turns += 1
                with self.turning():
                    self._turn()
                    self._hear()
                self._why = ""
            except SQLAlchemyError as error:
                self._wait_for_the_database(error)
            except Exception:
                self._full_at = float("-inf")
                log.exception("the reconciler's round failed; it tries again")
                self._stop.wait(EVERY_S)
            self._awake.wait(LEAST_S if "" in self._due else EVERY_S)
            self._awake.clear()

    def _turn(self) -> None:
        """A round for all when it is time for that, else for what changed."""
        if not self._fit():
            return
        since = time.monotonic() - self._full_at
        with self._lock:
            due, self._due = self._due, set()
        if since >= FULL_S or ("" in due and since >= LEAST_S):
            self._full_at = time.monotonic()
            self.round()
            return
        if "" in due:
            with self._lock:
                self._due.add("")
            due.discard("")
        if due:
            self.round(due)

    def _fit(self) -> bool:
        """Whether the schema is ours: to an older or a newer one nothing is written. Looked at with each full round."""
        if time.monotonic() - self._full_at >= FULL_S or self._unfit:
            state = self.db.state()
            unfit = state.said if state.word in ("behind", "ahead") else ""
            if unfit != self._unfit:
                log.error("rollouts stand still: %s", unfit) if unfit else log.info("rollouts go on")
            self._unfit = unfit
        self.active = self.active and not self._unfit
        return not self._unfit

    def _wait_for_the_database(self, error: SQLAlchemyError) -> None:
        why = str(error).strip().splitlines()[0]
        if why != self._why:  # once, not twice a second
            log.warning("rollouts wait for the database: %s", why)
        self._why, self.active, self._full_at = why, False, float("-inf")
        self._stop.wait(EVERY_S)

    def _hear(self) -> None:
        """Ring for pools whose tables another controller process wrote."""
        if time.monotonic() - self._heard_at < (EVERY_S if self.deaf() else HEAR_S):
            return
        self._heard_at = time.monotonic()
        query = select(Model.pool, Route.model, Route.epoch).join(Model, Model.name == Route.model)
        with self.db.read() as session:
            epochs = {(row.pool, row.model): row.epoch for row in session.execute(query)}
        if self._epochs is not None:
            for pool in {pool for (pool, _), _ in epochs.items() ^ self._epochs.items()}:
                self.ring(pool)
        self._epochs = epochs
