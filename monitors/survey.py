"""What the logs say of a model before a rollout: traffic, base rates, AUC, and how alike two versions' scores are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from monitors.follower import read_tick
from monitors.job_child import Progress
from monitors.log import LogReader
from monitors.rehearsal import BASELINE, CANDIDATE, DAY_MS, ROLLOUT, Cast, Past, Rehearsal
from monitors.rows import Scored
from monitors.slices import resolved
from monitors.watermark import Watermark, read_marks
from serinus.evidence import WorkItem
from serinus.sla import Sla

__all__ = ["PRIOR_CORRELATION", "SliceSurvey", "Survey", "TaskSurvey", "closed", "complete_to", "item_of", "survey"]

Floats = NDArray[np.float64]

PRIOR_CORRELATION = 0.95
STEP_MS, MINUTE_MS = 21_600_000, 60_000
MOST_ROWS = 100_000
"""Scores of a task that are kept; beyond them every second one goes, again and again."""
LEAST_PAIRS = 500
_LEAST_P = 1e-7


@dataclass(frozen=True, slots=True)
class SliceSurvey:
    """Mature labels that count, a day; `positives`: of these (0 where the task is not binary)."""

    labels: float
    positives: float


@dataclass(slots=True)
class TaskSurvey:
    """One task. `p`, `y`: a sample of scores and labels; `days`: of event time that were seen; `slices`: by name."""

    p: Floats = field(default_factory=lambda: np.zeros(0))
    y: Floats = field(default_factory=lambda: np.zeros(0))
    days: float = 0.0
    slices: dict[str, SliceSurvey] = field(default_factory=dict)
    correlation: float | None = None

    @property
    def auc(self) -> float | None:
        """Of the sample, ties half; None without both labels."""
        return auc_of(self.p, self.y)


@dataclass(slots=True)
class Survey:
    """`answers`: a day; `failed`: share of them in which something stood in; `pairs`: rows of past rollouts that two
    versions scored."""

    start_ms: int
    end_ms: int
    tasks: dict[str, TaskSurvey]
    answers: float = 0.0
    failed: float = 0.0
    pairs: int = 0


def auc_of(p: Floats, y: Floats) -> float | None:
    positives = int((y > 0).sum())
    if not positives or positives == len(y):
        return None
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    whole = rank[y > 0].sum() - positives * (positives + 1) / 2
    return float(whole / (positives * (len(y) - positives)))


def item_of(sla: Sla, start_ms: int, alpha: float | None = None) -> WorkItem:
    """A rollout that never was."""
    return WorkItem(
        rollout=ROLLOUT,
        model=sla.model,
        sla=sla,
        baseline=BASELINE,
        candidate=CANDIDATE,
        alpha=sla.rollout.alpha if alpha is None else alpha,
        started_event_ms=start_ms,
        shadow=sla.rollout.shadow_bp > 0,
    )


def closed(sla: Sla, reader: LogReader, at_ms: int) -> Sla:
    """The SLA with the values of its open slices, as the log has them before `at_ms`."""
    return resolved(item_of(sla, at_ms), reader, at_ms).sla


def complete_to(log: Path, model: str, told_ms: int | None, now_ms: int) -> int | None:
    """Event time up to which labels are complete, by the controller or else by the marks in the log."""
    return told_ms if told_ms is not None else Watermark().update(read_marks(log, model), now_ms)


def survey(reader: LogReader, sla: Sla, window: tuple[int, int], pasts: Iterable[Past], progress: Progress) -> Survey:
    """Look at the labels that became mature within `window` (event time, Unix ms)."""
    start_ms, end_ms = window
    item, pasts = item_of(sla, start_ms), tuple(pasts)
    stable = Rehearsal(reader, Cast(canary_bp=5_000))
    paired = Rehearsal(reader, Cast(mode="swap", pasts=pasts)) if pasts else None
    tasks = {task: _Gathered(sla, task) for task in sla.tasks}
    asked = failed = 0
    first_ms = end_ms
    for before in range(start_ms, end_ms, STEP_MS):
        at = min(before + STEP_MS, end_ms)
        tick = read_tick(item, stable, before, at)
        pairs = {} if paired is None else read_tick(item, paired, before, at).streams
        for task, gathered in tasks.items():
            if ("shadow", task) in tick.streams:
                gathered.add(tick.streams["shadow", task][0])
            if ("shadow", task) in pairs:
                gathered.pairs.add(*pairs["shadow", task])
        for exposed in tick.exposed.values():
            asked, failed = asked + len(exposed.minute), failed + int(exposed.failed.sum())
            first_ms = min(first_ms, int(exposed.minute.min(initial=end_ms // MINUTE_MS)) * MINUTE_MS)
        progress((at - start_ms) / (end_ms - start_ms), "the logs are surveyed")
    found = {task: gathered.survey(end_ms) for task, gathered in tasks.items()}
    answers = asked / len(sla.tasks) / max((end_ms - first_ms) / DAY_MS, 1 / 24)
    count = max((each.pairs.n for each in tasks.values()), default=0)
    return Survey(start_ms, end_ms, found, answers, failed / asked if asked else 0.0, count)


@dataclass(slots=True)
class _Pairs:
    """Sums for the correlation of two versions' scores, as logits of probabilities."""

    n: int = 0
    sums: Floats = field(default_factory=lambda: np.zeros(5))

    def add(self, a: Scored, b: Scored) -> None:
        x, z = _logits(a.p), _logits(b.p)
        self.n += len(x)
        self.sums = self.sums + np.array([x.sum(), z.sum(), (x * x).sum(), (z * z).sum(), (x * z).sum()])

    @property
    def correlation(self) -> float | None:
        if self.n < LEAST_PAIRS:
            return None
        x, z, xx, zz, xz = self.sums / self.n
        spread = (xx - x * x) * (zz - z * z)
        return float(np.clip((xz - x * z) / np.sqrt(spread), 0.0, 0.999)) if spread > 0 else None


@dataclass(slots=True)
class _Gathered:
    """What is gathered of one task. `stride`: of the rows so many, one is kept."""

    sla: Sla
    task: str
    kept: list[Scored] = field(default_factory=list)
    stride: int = 1
    first_ms: int | None = None
    counts: Floats | None = None
    pairs: _Pairs = field(default_factory=_Pairs)

    def add(self, rows: Scored) -> None:
        counted = _counted(rows, self.sla)
        self.counts = counted if self.counts is None else self.counts + counted
        if len(rows):
            earliest = int(rows.event_ms.min())
            self.first_ms = earliest if self.first_ms is None else min(self.first_ms, earliest)
        self.kept.append(rows.take(np.arange(0, len(rows), self.stride)))
        if sum(map(len, self.kept)) > MOST_ROWS:
            whole = Scored.concat(self.kept, len(self.sla.slices))
            self.kept, self.stride = [whole.take(np.arange(0, len(whole), 2))], 2 * self.stride

    def survey(self, end_ms: int) -> TaskSurvey:
        if self.first_ms is None or self.counts is None:
            return TaskSurvey(correlation=self.pairs.correlation)
        rows = Scored.concat(self.kept, len(self.sla.slices))
        days = max((end_ms - self.sla.horizon_s(self.task) * 1000 - self.first_ms) / DAY_MS, 1 / 24)
        names = ["overall", *(f"{name}={value}" for name, values in self.sla.slice_lists.items() for value in values)]
        daily = self.counts / days
        if self.sla.tasks[self.task].kind != "binary":
            daily[:, 1] = 0.0
        slices = {name: SliceSurvey(float(n), float(y)) for name, (n, y) in zip(names, daily, strict=True)}
        return TaskSurvey(rows.p, rows.y, days, slices, self.pairs.correlation)


def _logits(p: Floats) -> Floats:
    inside = len(p) == 0 or (p.min() >= 0 and p.max() <= 1)
    return np.asarray(logit(np.clip(p, _LEAST_P, 1 - _LEAST_P)) if inside else p)


def _counted(rows: Scored, sla: Sla) -> Floats:
    """Labels and positives: overall, then each value of each slice, shape (places, 2)."""
    columns = np.stack([np.ones(len(rows)), rows.y > 0], axis=1)
    found = [columns.sum(axis=0)]
    for at, values in enumerate(sla.slice_lists.values()):
        found += [columns[rows.slices[:, at] == place].sum(axis=0) for place in range(len(values))]
    return np.stack(found)
