"""What this process counts, and what the database knows at the moment of a scrape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from controller.database import Database
from controller.figures import fill
from controller.tables import EvidenceRow, RolloutRow
from serinus.exposition import Page, Scraped, counter, generate_latest, histogram

__all__ = ["Metrics"]

FRESH_S = 1.0
"""Wall seconds for which what the database knew is shown again, however many scrape."""


class Metrics:
    """One registry a controller. `acting`: whether this process carries the rollouts. `clock`: Unix seconds."""

    def __init__(self, db: Database, clock: Callable[[], float], acting: Callable[[], bool]) -> None:
        self.db, self.clock, self.acting = db, clock, acting
        self.registry = CollectorRegistry()
        self.requests = counter("serinus_api_requests_total", self.registry)
        self.durations = histogram("serinus_api_request_duration_seconds", self.registry)
        self.turns = histogram("serinus_reconcile_duration_seconds", self.registry)
        self.errors = counter("serinus_reconcile_errors_total", self.registry)
        self.decisions = histogram("serinus_rollout_decision_seconds", self.registry)
        self._page, self._at = Page(), float("-inf")
        self.registry.register(Scraped(self._known))

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _known(self, page: Page) -> None:
        if time.monotonic() - self._at > FRESH_S:
            found = Page()
            try:
                with self.db.read() as session:
                    fill(found, session, self.clock())
                found.put("serinus_database_up", 1)
            except SQLAlchemyError:
                found = Page()
                found.put("serinus_database_up", 0)
            self._page, self._at = found, time.monotonic()
        page.take(self._page)
        page.put("serinus_active_controller", self.acting())

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn of the reconciler; one that raises is counted."""
        with self.turns.time():
            try:
                yield
            except Exception:
                self.errors.inc()
                raise

    def decided(self, rollout: str) -> None:
        """A step was taken: where its move rests on evidence, how long that had been here is noted."""
        with self.db.read() as session:
            history = session.scalars(select(RolloutRow.history).where(RolloutRow.id == rollout)).one_or_none()
            move = history[-1] if history else None
            if move is None or move.evidence is None:
                return
            mine = (EvidenceRow.rollout == rollout, EvidenceRow.digest == move.evidence)
            received = session.scalars(select(EvidenceRow.received_at).where(*mine)).first()
        if received is not None:
            self.decisions.observe(max(0.0, move.at - received))
