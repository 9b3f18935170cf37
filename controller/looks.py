"""Looks of monitors as they are kept: each in full at first, later those that mattered; of all a small line.

A full look of 84 guards is 30 kB of JSON, packed a fifth of that, its line 1.4 kB. What is thinned out is a look with
which nothing changed and that no move rests on; the digests of the others stay verifiable bit for bit."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controller.database import upsert
from controller.tables import EvidenceRow, LookRow, RolloutRow, ShapeRow
from serinus.evidence import CellEvidence, Evidence, Verdict

__all__ = ["Line", "forget", "keep_look", "line_of", "lines_of", "thin"]

NEWEST, EACH = 60, 20
"""The newest looks that stay in full, and of the older ones each so manieth."""
CELL = struct.Struct("<fffIB")
NAN = float("nan")
LARGEST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Line:
    """A look, small. `cells`: (estimate, low, high, labels, verdict) of each guard of its shape, in order."""

    tick_ms: int
    e: float
    limit: float
    verdict: str
    shape: int
    cells: bytes

    def cell(self, at: int) -> tuple[float | None, float | None, float | None, int, str]:
        estimate, low, high, labels, verdict = CELL.unpack_from(self.cells, at * CELL.size)
        numbers = (None if number != number else number for number in (estimate, low, high))  # noqa: PLR0124 NaN
        return *numbers, labels, Verdict(verdict).word


def keep_look(session: Session, look: Evidence, stream: str, monitor: str, now: float) -> bool:
    """Keep the first look of its tick: False when there was one already, whether in full or not."""
    key = {"rollout": look.rollout, "stream": stream, "tick_ms": look.tick_ms}
    if session.get(LookRow, tuple(key.values())) is not None:
        return False
    told = {"verdict": look.verdict, "monitor": monitor, "received_at": now, "body": look, "digest": look.digest}
    upsert(session, EvidenceRow, key, told, first_stays=True)
    line = {"e": look.e, "limit_": look.limit, "verdict": look.verdict, "mark": _mark(look)}
    shape = _shape(session, look)
    upsert(session, LookRow, key, {**line, "shape": shape, "cells": line_of(look.cells)}, first_stays=True)
    return True


def line_of(cells: Iterable[CellEvidence]) -> bytes:
    return b"".join(
        CELL.pack(_f(c.estimate), _f(c.low), _f(c.high), min(c.labels, LARGEST), int(Verdict.of(c.verdict)))
        for c in cells
    )


def _f(value: float | None) -> float:
    """A number as 32 bits hold it; NaN stands for none."""
    return NAN if value is None else max(-3.4e38, min(3.4e38, value))


def _shape(session: Session, look: Evidence) -> int:
    """The number of the list of guards that this look has: the same one for nearly all looks of a rollout."""
    guards = tuple((c.stream, c.name, c.role, c.margin) for c in look.cells)
    newest = select(ShapeRow).where(ShapeRow.rollout == look.rollout).order_by(ShapeRow.number.desc())
    rows = session.scalars(newest).all()
    for row in rows:
        if row.guards == guards:
            return row.number
    number = rows[0].number + 1 if rows else 1
    upsert(session, ShapeRow, {"rollout": look.rollout, "number": number}, {"guards": guards}, first_stays=True)
    return number


def _mark(look: Evidence) -> str:
    """Differs between looks of which one says another thing than the other."""
    said = (look.verdict, look.culprits, len(look.holds), tuple(cell.verdict for cell in look.cells))
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def lines_of(session: Session, rollout: str, stream: str, ticks: Sequence[int] | None = None) -> list[Line]:
    """In rising order of tick; `ticks`: these only."""
    columns = (LookRow.tick_ms, LookRow.e, LookRow.limit_, LookRow.verdict, LookRow.shape, LookRow.cells)
    query = select(*columns).where(LookRow.rollout == rollout, LookRow.stream == stream).order_by(LookRow.tick_ms)
    if ticks is not None:
        query = query.where(LookRow.tick_ms.in_(ticks))
    return [Line(*row) for row in session.execute(query)]


def thin(session: Session, row: RolloutRow) -> int:
    """Drop the bodies of live looks that nothing rests on: how many. Lock the rollout first."""
    query = select(LookRow.tick_ms, LookRow.mark).where(LookRow.rollout == row.id, LookRow.stream == "live")
    looks = session.execute(query.order_by(LookRow.tick_ms)).all()
    before = [None, *(look.mark for look in looks)]
    stays = {look.tick_ms for at, look in enumerate(looks) if look.mark != before[at] or at % EACH == 0}
    stays |= {look.tick_ms for look in looks[-NEWEST:]}
    return _drop(session, row, stays)


def forget(session: Session, row: RolloutRow) -> int:
    """Of a rollout that ended long ago: keep what its moves rest on, and nothing else. Lock the rollout first."""
    session.execute(delete(LookRow).where(LookRow.rollout == row.id))
    session.execute(delete(ShapeRow).where(ShapeRow.rollout == row.id))
    return _drop(session, row, set())


def _drop(session: Session, row: RolloutRow, stays: set[int]) -> int:
    told = {move.evidence for move in row.history if move.evidence}
    first = select(func.min(EvidenceRow.tick_ms)).where(EvidenceRow.rollout == row.id, EvidenceRow.stream == "live")
    stays = stays | {session.scalar(first.where(EvidenceRow.verdict == "violated")) or -1}
    bodies = select(EvidenceRow.tick_ms, EvidenceRow.digest).where(
        EvidenceRow.rollout == row.id, EvidenceRow.stream == "live"
    )
    gone = [tick for tick, digest in session.execute(bodies) if tick not in stays and digest not in told]
    for at in range(0, len(gone), 500):
        mine = (EvidenceRow.rollout == row.id, EvidenceRow.stream == "live")
        session.execute(delete(EvidenceRow).where(*mine, EvidenceRow.tick_ms.in_(gone[at : at + 500])))
    return len(gone)
