"""How far a model's labels are: the event time up to which everything that matters lies in the logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from monitors.portion import ALL, Portion
from serinus.records import Mark
from serinus.sla import Sla

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


@dataclass(frozen=True, slots=True)
class Silence:
    """A label source that has said nothing for longer than its heartbeat. `upto_ms`: event time up to which its labels
    are complete; `tasks`: those that wait for it; `behind_ms`: how far behind the traffic it is."""

    source: str
    tasks: tuple[str, ...]
    upto_ms: int
    behind_ms: int

    @property
    def text(self) -> str:
        waiting = ", ".join(self.tasks)
        return f"label source {self.source} is {self.behind_ms / 3_600_000:.1f} h behind the traffic; {waiting} waits"


@dataclass(slots=True)
class Watermark:
    """The watermark of one model; it never falls.

    A label source says "complete to T" through one writer; labels and shadow answers of other writers that lie before
    T are only sure to be in the log once each living writer has written a mark after that. As T moves on faster than
    marks come, what was said is remembered (`_said`, of each source: T and when, wall ms) until every living writer has
    caught up.

    A source that speaks for tasks with a `heartbeat_s`, and is further behind the traffic than the least of these, is
    silent: the watermark goes on without it, at that distance from the traffic, and its tasks wait where it stopped.
    `heartbeats_s`: task -> its heartbeat, or None; `given`: task -> the task whose label is its condition;
    `silences`: as of the last update."""

    value_ms: int | None = None
    heartbeats_s: Mapping[str, int | None] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    silences: tuple[Silence, ...] = ()
    _said: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def promise(self, sla: Sla) -> None:
        """Take the heartbeats of an SLA."""
        self.heartbeats_s = {name: task.heartbeat_s for name, task in sla.tasks.items()}
        self.given = {name: task.given_task[0] for name, task in sla.tasks.items() if task.given_task}

    def update(self, marks: Sequence[Mark], now_ms: int) -> int | None:
        """The event time (Unix ms) up to which labels are complete, None when no source has said anything yet.

        `now_ms`: wall time."""
        for source, newest in _complete(marks).items():
            said = self._said.setdefault(source, [])
            if not said or newest[0] > said[-1][0]:
                said.append(newest)
                del said[:-_REMEMBERED]
        living = [mark for mark in marks if not mark.ended and now_ms - mark.wall_ms < ALIVE_MS]
        caught_up = min((mark.wall_ms for mark in living), default=now_ms)
        usable: dict[str, int] = {}
        for source, said in self._said.items():
            sure = [to for to, at in said if at <= caught_up]
            if not sure:
                return self.value_ms
            usable[source] = sure[-1]
            self._said[source] = [each for each in said if each[0] >= sure[-1]]
        if not usable:
            return self.value_ms
        self.silences, reach = self._silent(marks, usable)
        outstanding = [mark.outstanding_ms for mark in living if mark.outstanding_ms is not None]
        capped = min([*reach, *(each - 1 for each in outstanding)])
        self.value_ms = capped if self.value_ms is None else max(self.value_ms, capped)
        return self.value_ms

    @property
    def held(self) -> dict[str, int]:
        """Task -> event time (Unix ms) at which it waits; only those of silent sources."""
        held: dict[str, int] = {}
        for silence in self.silences:
            for task in silence.tasks:
                held[task] = min(held.get(task, silence.upto_ms), silence.upto_ms)
        return held

    def _silent(self, marks: Sequence[Mark], usable: dict[str, int]) -> tuple[tuple[Silence, ...], list[int]]:
        """The sources that are silent, and how far each source lets the watermark go."""
        traffic_ms = max((mark.newest_ms for mark in marks if mark.newest_ms is not None), default=0)
        silences, reach = [], []
        for source, upto_ms in sorted(usable.items()):
            said = [
                (m.complete_to_ms[source], m.wall_ms, m.complete_tasks.get(source, []))
                for m in marks
                if source in m.complete_to_ms
            ]
            own = set(max(said)[2] if said else ()) or set(self.heartbeats_s)
            beats = [beat for task in own if (beat := self.heartbeats_s.get(task)) is not None]
            least_ms = traffic_ms - min(beats) * 1000 if beats else upto_ms
            reach.append(max(upto_ms, least_ms))
            if upto_ms < least_ms:
                waiting = [task for task in self.heartbeats_s if task in own or self.given.get(task) in own]
                silences.append(Silence(source, tuple(waiting), upto_ms, traffic_ms - upto_ms))
        return tuple(silences), reach


def _complete(marks: Sequence[Mark]) -> dict[str, tuple[int, int]]:
    """Source -> (T, wall time at which it was said first): the most over writers."""
    best: dict[str, tuple[int, int]] = {}
    for mark in marks:
        for source, to in mark.complete_to_ms.items():
            at = mark.complete_at_ms.get(source, mark.wall_ms)
            known = best.get(source)
            if known is None or (to, -at) > (known[0], -known[1]):
                best[source] = (to, at)
    return best
