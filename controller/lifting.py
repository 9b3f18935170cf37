"""Epochs after a restore. Replicas refuse a table that is older than theirs, so those of a restored database rise."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.audit import audit
from controller.database import wakes
from controller.tables import Model, Route

__all__ = ["LARGEST", "ahead", "lift", "raise_epoch"]

log = logging.getLogger(__name__)
LARGEST = 2**52
"""A replica that speaks of a larger epoch is not believed: no number of changes ever comes there."""


def ahead(known: dict[str, int], epochs: dict[str, int]) -> dict[str, int]:
    """What a replica knows that is newer than anything written here: our database was restored from a backup."""
    return {model: epoch for model, epoch in known.items() if epochs.get(model, epoch) < epoch <= LARGEST}


def lift(session: Session, pool: str, replica: str, newer: dict[str, int], now: float) -> bool:
    """Raise the epochs of these models beyond what the replica knows, and say so in the audit log.

    True when anything was raised: another may have done it, or these are models of other pools."""
    lifted = False
    for name in sorted(newer):
        query = select(Model).where(Model.name == name, Model.pool == pool, Model.deleted_at.is_(None))
        model = session.scalars(query.with_for_update()).one_or_none()
        row = session.get(Route, name, populate_existing=True) if model is not None else None
        if model is None or row is None or row.epoch >= newer[name]:
            continue
        was = row.epoch
        raise_epoch(session, model, row, newer[name] + 1)
        detail = {"was": was, "epoch": row.epoch, "known": newer[name], "pool": pool, "replica": replica}
        audit(session, actor="controller", action="route.lift", subject=f"models/{name}", detail=detail, now=now)
        log.warning("replica %s has table %d of %s, ours was %d: was it restored?", replica, newer[name], name, was)
        lifted = True
    return lifted


def raise_epoch(session: Session, model: Model, row: Route, epoch: int) -> None:
    """The same table under another number."""
    row.epoch = epoch
    row.body = row.body.model_copy(update={"epoch": epoch})
    session.flush()
    wakes(session, f"routes:{model.name}", f"pool:{model.pool}")
