"""The route tables of each pool as the polls of this process need them: read once a change, not once a poll."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.bell import Bell
from controller.database import Database
from controller.tables import Model, Route
from serinus.routes import Watched

__all__ = ["Page", "RouteBook", "epochs_of", "tables_of"]

ANSWERS = 64
"""Answers of one state of a pool that are kept: replicas of a pool mostly lack the same tables."""


@dataclass(slots=True)
class Page:
    """A pool when the bell had rung `rung` times for it. `epochs`: of every model that it serves, in order of name."""

    rung: int
    epochs: dict[str, int]
    answers: dict[tuple[str, ...], bytes] = field(default_factory=dict)

    def news(self, known: dict[str, int]) -> tuple[str, ...] | None:
        """Models whose epoch is not the one known; None when there is nothing to tell."""
        if known == self.epochs:
            return None
        other = tuple(model for model, epoch in self.epochs.items() if known.get(model) != epoch)
        return other if other or known.keys() - self.epochs.keys() else None


class RouteBook:
    """Belongs to one event loop. `bell`: rung for a pool's name when a table of it has changed."""

    def __init__(self, db: Database, bell: Bell) -> None:
        self.db, self.bell = db, bell
        self._pages: dict[str, Page] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def page(self, pool: str) -> Page:
        """The pool as it is at the bell's present count, read by one of those who ask."""
        page = self._pages.get(pool)
        if page is not None and page.rung == self.bell.count(pool):
            return page
        async with self._locks.setdefault(pool, asyncio.Lock()):
            page, rung = self._pages.get(pool), self.bell.count(pool)
            if page is None or page.rung != rung:
                page = Page(rung, await to_thread.run_sync(self._epochs, pool))
                self._keep(pool, page)
        return page

    def _keep(self, pool: str, page: Page) -> None:
        """A pool without models is not kept: anybody may ask for any name."""
        if page.epochs:
            self._pages[pool] = page
        else:
            self._pages.pop(pool, None)
            self._locks.pop(pool, None)

    async def answer(self, page: Page, models: tuple[str, ...]) -> bytes:
        """`Watched`, as JSON, with the tables of these models as they are now."""
        if not models:
            return Watched(tables=(), models=tuple(page.epochs)).model_dump_json().encode()
        if models not in page.answers:
            if len(page.answers) >= ANSWERS:
                page.answers.clear()
            page.answers[models] = await to_thread.run_sync(self._answer, page, models)
        return page.answers[models]

    def _epochs(self, pool: str) -> dict[str, int]:
        with self.db.read() as session:
            return epochs_of(session, pool)

    def _answer(self, page: Page, models: tuple[str, ...]) -> bytes:
        with self.db.read() as session:
            return tables_of(session, models, tuple(page.epochs)).model_dump_json().encode()


def epochs_of(session: Session, pool: str) -> dict[str, int]:
    """Model -> epoch of its table, for every model of the pool that has one."""
    query = select(Route.model, Route.epoch).join(Model, Model.name == Route.model).where(Model.pool == pool)
    return {row.model: row.epoch for row in session.execute(query.order_by(Route.model))}


def tables_of(session: Session, models: tuple[str, ...], served: tuple[str, ...]) -> Watched:
    query = select(Route.body).where(Route.model.in_(models)).order_by(Route.model)
    return Watched(tables=tuple(session.scalars(query)) if models else (), models=served)
