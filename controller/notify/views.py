"""Notices as the API shows them: what was told, and whom it reached."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from controller.tables import Delivery, NoticeRow
from serinus.notices import Notice
from serinus.tasks import Name, Word

__all__ = ["DeliveryView", "NoticeView", "TestBody", "notice_view"]


class DeliveryView(Word):
    """A notice on its way to a target. `due_at`: when it is tried (again); null: never. `said`: why it failed last."""

    target: str
    attempts: int
    delivered_at: float | None
    due_at: float | None
    said: str


class NoticeView(Word):
    number: int
    notice: Notice
    deliveries: tuple[DeliveryView, ...]


class TestBody(Word):
    """`model`: in whose name, so that it goes to those who are told of that model."""

    __test__ = False
    model: Name


def notice_view(session: Session, row: NoticeRow) -> NoticeView:
    found = session.scalars(select(Delivery).where(Delivery.notice == row.number).order_by(Delivery.target))
    deliveries = tuple(
        DeliveryView(
            target=each.target,
            attempts=each.attempts,
            delivered_at=each.delivered_at,
            due_at=each.due_at,
            said=each.said,
        )
        for each in found
    )
    return NoticeView(number=row.number, notice=row.body, deliveries=deliveries)
