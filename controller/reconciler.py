"""The loop that carries rollouts forward: one thread a process, one active reconciler a database."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable

from sqlalchemy import select

from controller import leases
from controller.advance import advance
from controller.database import Database
from controller.queueing import turns
from controller.routes import UriOf
from controller.tables import RolloutRow, Route
from serinus.errors import SerinusError, Stale

__all__ = ["Reconciler"]

log = logging.getLogger(__name__)
EVERY_S = 0.5
MOVES = 50
"""More moves than any plan has in a row: a loop beyond them would be a fault of ours."""


class Reconciler:
    """Wakes on `nudge`, else every EVERY_S; `ring` is called when a route table changed in the database.

    `clock` gives wall time in Unix seconds."""

    def __init__(self, db: Database, uri_of: UriOf, clock: Callable[[], float], ring: Callable[[], object]) -> None:
        self.db, self.uri_of, self.clock, self.ring = db, uri_of, clock, ring
        self.holder = uuid.uuid4().hex
        self.active = False
        self._awake = threading.Event()
        self._stop = threading.Event()
        self._epochs: list[tuple[str, int]] = []
        self._thread = threading.Thread(target=self._loop, name="reconciler", daemon=True)

    def round(self) -> int:
        """Carry every rollout that goes on, or may begin, as far as the facts allow.

        Gives how many steps were taken; 0 without the lease."""
        self.active = leases.hold(self.db, self.holder, self.clock())
        if not self.active:
            return 0
        with self.db.read() as session:
            query = select(RolloutRow.id).where(RolloutRow.active_model.is_not(None)).order_by(RolloutRow.started_at)
            ids = [*session.scalars(query), *turns(session)]
        return sum(self._carry(rollout_id) for rollout_id in ids)

    def _carry(self, rollout_id: str) -> int:
        for steps in range(MOVES):
            try:
                if not advance(self.db, rollout_id, self.uri_of, self.clock(), lease=self.holder):
                    return steps
            except Stale:
                return steps
            except SerinusError:
                log.exception("rollout %s could not be carried forward", rollout_id)
                return steps
        log.error("rollout %s did not come to rest in %d steps", rollout_id, MOVES)
        return MOVES

    def nudge(self) -> None:
        self._awake.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the loop after its present step and give the lease back."""
        self._stop.set()
        self._awake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        leases.release(self.db, self.holder, self.clock())

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.round()
                self._hear()
            except Exception:
                log.exception("the reconciler's round failed; it tries again")
                self._stop.wait(EVERY_S)
            self._awake.wait(EVERY_S)
            self._awake.clear()

    def _hear(self) -> None:
        """Ring for tables that another controller process wrote."""
        with self.db.read() as session:
            epochs = [(row.model, row.epoch) for row in session.execute(select(Route.model, Route.epoch))]
        if sorted(epochs) != self._epochs:
            self._epochs = sorted(epochs)
            self.ring()
