"""How far a model's labels are: the event time up to which everything that matters lies in the logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from monitors.portion import ALL, Portion
from serinus.records import Mark

ALIVE_MS = 60_000
"""A writer whose mark is older (wall time) has stopped, without having said so: its machine is gone, or its disk."""
MINUTE_MS = 60_000
_REMEMBERED = 4_096


def read_marks(log: Path, model: str) -> list[Mark]:
    """The marks of every writer of a model; one that cannot be read is left out (its writer replaces it soon)."""
    marks = []
    for path in sorted((log / "marks" / model).glob("*.json")):
        try:
            marks.append(msgspec.json.decode(path.read_bytes(), type=Mark))
        except (msgspec.MsgspecError, OSError):
            continue
    return marks


def lost_rows(marks: Sequence[Mark], start_ms: int, end_ms: int, portion: Portion = ALL) -> int:
    """Rows of answers that could not be recorded, of the minutes of event time whose end lies in (start, end]."""
    return sum(
        rows
        for mark in marks
        for minute, rows in mark.lost_by_minute.items()
        if start_ms < (minute + 1) * MINUTE_MS <= end_ms and portion.meets(minute * MINUTE_MS, minute * MINUTE_MS)
    )


@dataclass(slots=True)
class Watermark:
    """The watermark of one model; it never falls.

    A label source says "complete to T" through one writer; labels and shadow answers of other writers that lie before
    T are only sure to be in the log once each living writer has written a mark after that. As T moves on faster than
    marks come, what was said is remembered (`_said`: T and when, wall ms) until every living writer has caught up."""

    value_ms: int | None = None
    _said: list[tuple[int, int]] = field(default_factory=list)

    def update(self, marks: Sequence[Mark], now_ms: int) -> int | None:
        """The event time (Unix ms) up to which labels are complete, None when no source has said anything yet.

        `now_ms`: wall time."""
        newest = _complete(marks)
        if newest is not None and (not self._said or newest[0] > self._said[-1][0]):
            self._said = [*self._said[-_REMEMBERED:], newest]
        living = [mark for mark in marks if not mark.ended and now_ms - mark.wall_ms < ALIVE_MS]
        caught_up = min((mark.wall_ms for mark in living), default=now_ms)
        usable = [to for to, at in self._said if at <= caught_up]
        if not usable:
            return self.value_ms
        self._said = [(to, at) for to, at in self._said if to >= usable[-1]]
        outstanding = [mark.outstanding_ms for mark in living if mark.outstanding_ms is not None]
        capped = min([usable[-1], *(each - 1 for each in outstanding)])
        self.value_ms = capped if self.value_ms is None else max(self.value_ms, capped)
        return self.value_ms


def _complete(marks: Sequence[Mark]) -> tuple[int, int] | None:
    """(T, wall time at which the last source said at least T): the least over sources of the most over writers."""
    best: dict[str, tuple[int, int]] = {}
    for mark in marks:
        for source, to in mark.complete_to_ms.items():
            at = mark.complete_at_ms.get(source, mark.wall_ms)
            known = best.get(source)
            if known is None or (to, -at) > (known[0], -known[1]):
                best[source] = (to, at)
    if not best:
        return None
    return min(to for to, _ in best.values()), max(at for _, at in best.values())
