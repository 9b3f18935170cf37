"""Two versions side by side."""

from __future__ import annotations

from fastapi import APIRouter, Request
from sqlalchemy import select
from starlette.responses import Response

from controller.cards import compare
from controller.console.render import page
from controller.console.visit import Visitor
from controller.rows import model_of
from controller.services import Used
from controller.tables import Version
from serinus.diff import Number, VersionDiff

__all__ = ["router"]

router = APIRouter(prefix="/models/{model}/diff")
LOWER_IS_BETTER = ("loss", "error", "rmse", "mae", "ece", "brier")
HIGHER_IS_BETTER = ("auc", "accuracy", "top1", "f1", "recall", "precision", "r2")


@router.get("")
def diff(
    request: Request, services: Used, visit: Visitor, *, model: str, old: int | None = None, new: int | None = None
) -> Response:
    """Without versions, or with one: a form to choose them."""
    found: VersionDiff | None = None
    with services.db.read() as session:
        model_of(session, model)
        numbers = select(Version.number).where(Version.model == model, Version.deleted_at.is_(None))
        known = list(session.scalars(numbers.order_by(Version.number.desc()).limit(500)))
        if old is not None and new is not None:
            found = compare(session, services.store, model, old, new)
    rows = [(number, _side(number)) for number in found.numbers] if found else []
    return page(
        request,
        "diff.html",
        visit,
        now=services.clock(),
        model=model,
        known=known,
        old=old,
        new=new,
        found=found,
        rows=rows,
    )


def _side(number: Number) -> str:
    """`better`, `worse`, "" where they are alike or nobody can say: counts and rates are neither."""
    if not number.difference:
        return ""
    name = number.metric.lower()
    if any(word in name for word in LOWER_IS_BETTER):
        return "better" if number.difference < 0 else "worse"
    if any(word in name for word in HIGHER_IS_BETTER):
        return "better" if number.difference > 0 else "worse"
    return ""
