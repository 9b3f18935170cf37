"""The thread that thins out old looks, forgets those of rollouts that ended long ago, and takes garbage away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from controller.database import Database
from controller.looks import NEWEST, forget, thin
from controller.rows import lock_rollout
from controller.tables import EvidenceRow, LookRow, RolloutRow
from serinus.errors import Unavailable
from serinus.rollouts import ENDS

__all__ = ["Upkeep"]

log = logging.getLogger(__name__)
EVERY_S = 60.0
SLACK = 20
"""So many new looks are worth another pass."""


class Upkeep:
    """Any number of controllers may do it: each pass locks the rollout that it thins. `clock`: wall time, Unix seconds.

    `kept_s`: how long the looks of a rollout are kept after its end; those that its moves rest on stay for ever.
    `sweep`: takes garbage away when it is time, else does nothing."""

    def __init__(
        self, db: Database, clock: Callable[[], float], kept_s: float, sweep: Callable[[], object] = lambda: None
    ) -> None:
        self.db, self.clock, self.kept_s, self.sweep = db, clock, kept_s, sweep
        self._thinned: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="upkeep", daemon=True)

    def round(self) -> int:
        """How many looks were thinned out. One short transaction a rollout."""
        with self.db.read() as session:
            many = self._many(session)
            old = self._old(session)
        dropped = 0
        for rollout, count in many.items():
            dropped += self._in_turn(rollout, thin)
            self._thinned[rollout] = count
        for rollout in old:
            dropped += self._in_turn(rollout, forget)
        return dropped

    def _many(self, session: Session) -> dict[str, int]:
        """Rollout -> its looks, where there are enough since the last pass."""
        query = select(EvidenceRow.rollout, func.count()).where(EvidenceRow.stream == "live")
        counts = session.execute(query.group_by(EvidenceRow.rollout).having(func.count() > NEWEST + SLACK)).all()
        looks = select(func.count()).select_from(LookRow)
        found = {rollout: session.scalar(looks.where(LookRow.rollout == rollout)) or 0 for rollout, _ in counts}
        return {rollout: count for rollout, count in found.items() if count >= self._thinned.get(rollout, 0) + SLACK}

    def _old(self, session: Session) -> list[str]:
        """Rollouts that ended long ago and still have lines. The last move tells when: that is read of few."""
        before = self.clock() - self.kept_s
        has = select(LookRow.rollout).where(LookRow.rollout == RolloutRow.id).exists()
        query = select(RolloutRow).where(RolloutRow.phase.in_(ENDS), RolloutRow.started_at < before, has).limit(100)
        return [row.id for row in session.scalars(query) if not row.history or row.history[-1].at < before]

    def _in_turn(self, rollout: str, what: Callable[[Session, RolloutRow], int]) -> int:
        with self.db.write() as session:
            _, row = lock_rollout(session, rollout)
            return what(session, row)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _loop(self) -> None:
        while not self._stop.wait(EVERY_S):
            for what, does in (("old looks", self.round), ("garbage", self.sweep)):
                try:
                    does()
                except SQLAlchemyError as error:
                    log.warning("%s: it waits for the database: %s", what, str(error).splitlines()[0])
                except Unavailable as error:
                    log.warning("%s: %s", what, error.detail)
                except Exception:
                    log.exception("%s could not be taken away", what)
