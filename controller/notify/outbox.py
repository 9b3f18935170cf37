"""Notices wait in the database until they are delivered; what a transaction tells is told once it is committed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from controller.database import wakes
from controller.notify.targets import Target
from controller.tables import Delivery, NoticeRow
from serinus.notices import Notice

__all__ = ["Letter", "claim", "delivered", "failed", "put_back", "route", "tell", "undelivered", "waiting"]

CLAIM_S = 60.0
"""Wall seconds for which a letter is one controller's; after them another may send it: at least once, seldom twice."""
FIRST_RETRY_S, LAST_RETRY_S, GIVE_UP_S = 2.0, 900.0, 86_400.0
KEPT_S = 30 * 86_400.0
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice on its way to one target."""

    number: int
    target: str
    notice: Notice


def tell(session: Session, notice: Notice) -> NoticeRow:
    """Write the notice down, in the transaction of what it tells of."""
    row = NoticeRow(at=notice.at, model=notice.model, body=notice, routed=False)
    session.add(row)
    session.flush()
    wakes(session, "notices")
    return row


def waiting(session: Session, now: float) -> bool:
    """True when there is anything to route or to send."""
    new = select(NoticeRow.number).where(NoticeRow.routed.is_(False)).limit(1)
    due = select(Delivery.notice).where(Delivery.due_at <= now).limit(1)
    return session.scalar(new) is not None or session.scalar(due) is not None


def route(session: Session, targets: Iterable[Target], now: float) -> None:
    """Address new notices to whoever wants them, and forget old ones."""
    new = select(NoticeRow).where(NoticeRow.routed.is_(False)).order_by(NoticeRow.number).with_for_update()
    for row in session.scalars(new.limit(AT_ONCE)):
        row.routed = True
        for target in targets:
            if target.wants(row.body):
                session.add(Delivery(notice=row.number, target=target.name, attempts=0, due_at=now, said=""))
    old = select(NoticeRow.number).where(NoticeRow.at < now - KEPT_S)
    session.execute(delete(Delivery).where(Delivery.notice.in_(old)))
    session.execute(delete(NoticeRow).where(NoticeRow.at < now - KEPT_S))


def claim(session: Session, now: float) -> list[Letter]:
    """Letters that are due, now ours for a while."""
    due = (
        select(Delivery, NoticeRow.body)
        .join(NoticeRow, NoticeRow.number == Delivery.notice)
        .where(Delivery.due_at <= now)
        .order_by(Delivery.due_at, Delivery.notice)
        .limit(AT_ONCE)
        .with_for_update(of=Delivery)
    )
    letters = []
    for row, notice in session.execute(due).all():
        row.due_at = now + CLAIM_S
        letters.append(Letter(row.notice, row.target, notice))
    return letters


def delivered(session: Session, letter: Letter, now: float) -> None:
    row = session.get_one(Delivery, (letter.number, letter.target))
    row.due_at, row.delivered_at, row.attempts, row.said = None, now, row.attempts + 1, ""


def failed(session: Session, letter: Letter, why: str, now: float) -> None:
    """Try again later, each time after twice as long; not any more when the notice is a day old."""
    row = session.get_one(Delivery, (letter.number, letter.target))
    row.attempts += 1
    row.said = why[:500]
    wait_s = min(FIRST_RETRY_S * 2 ** (row.attempts - 1), LAST_RETRY_S)
    row.due_at = now + wait_s if now - letter.notice.at < GIVE_UP_S else None


def put_back(session: Session, letters: Iterable[Letter], now: float) -> None:
    """There was no time for them: they are due, behind what waits already."""
    for letter in letters:
        session.get_one(Delivery, (letter.number, letter.target)).due_at = now


def undelivered(session: Session) -> list[Delivery]:
    """Letters that failed at least once and were not delivered since."""
    stuck = select(Delivery).where(Delivery.delivered_at.is_(None), Delivery.attempts > 0)
    return list(session.scalars(stuck.order_by(Delivery.notice).limit(1_000)))
