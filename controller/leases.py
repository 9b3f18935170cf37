"""The lease that makes one reconciler the active one."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from controller.database import Database
from controller.tables import Lease
from serinus.errors import Stale

__all__ = ["LEASE_S", "dead_s", "held", "hold", "release", "require", "until"]

NAME = "reconciler"
LEASE_S = 5.0


def hold(db: Database, holder: str, now: float) -> bool:
    """Take the lease when it is free, keep it when it is ours: True when `holder` may act until `now` + LEASE_S."""
    with db.read() as session:
        row = session.get(Lease, NAME)
        if row and row.holder != holder and row.expires_at > now:
            return False
        if row and row.holder == holder and row.expires_at - now > LEASE_S / 2:
            return True
    with db.write() as session:
        row = session.scalars(select(Lease).where(Lease.name == NAME).with_for_update()).one_or_none()
        if row is None:
            session.add(Lease(name=NAME, holder=holder, expires_at=now + LEASE_S))
        elif row.holder == holder or row.expires_at <= now:
            row.dead_s += max(0.0, now - row.expires_at)
            row.holder, row.expires_at = holder, now + LEASE_S
        else:
            return False
    return True


def require(session: Session, holder: str, now: float) -> None:
    """Raise Stale unless `holder` has the lease; it cannot change hands before this transaction ends."""
    row = session.scalars(select(Lease).where(Lease.name == NAME).with_for_update()).one_or_none()
    if row is None or row.holder != holder or row.expires_at <= now:
        raise Stale("another reconciler has taken the lease")


def dead_s(session: Session) -> float:
    """Wall seconds so far in which no controller held the lease: deadlines do not count them."""
    return session.scalar(select(Lease.dead_s).where(Lease.name == NAME)) or 0.0


def until(session: Session) -> float | None:
    """Until when its holder may act, Unix seconds; None: nobody ever held it."""
    return session.scalar(select(Lease.expires_at).where(Lease.name == NAME))


def held(session: Session, now: float) -> bool:
    """Whether anybody acts, or did within the time that another one needs to take over."""
    upto = until(session)
    return upto is not None and upto > now - LEASE_S


def release(db: Database, holder: str, now: float) -> None:
    """Let the next one take over at once."""
    mine = (Lease.name == NAME, Lease.holder == holder, Lease.expires_at > now)
    with db.write() as session:
        session.execute(update(Lease).where(*mine).values(expires_at=now))
