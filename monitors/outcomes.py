"""What the labels of one task say of each key, as of an age: the windows, corrections and what is no evidence. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitors.columns import Ints, Labels, Words
from monitors.keys import first_of_each
from monitors.losses import valid_labels
from serinus.sla import Sla

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """Labels by key, shape (keys,): a number, or NaN where there is none; what was counted on the way; `seen`: distinct
    labels that were there, by hour of their event time (Unix ms // 3,600,000)."""

    y: Floats
    counts: Counter[str]
    seen: dict[int, int]


def matures_ms(sla: Sla, task: str, event_ms: Ints) -> Ints:
    """The tick at which rows of that event time are joined with the task's labels."""
    step = sla.tick_s * 1000
    return np.asarray((event_ms + sla.horizon_s(task) * 1000) // step * step + step)


@dataclass(slots=True)
class Outcomes:
    """`labels` with the number of each one's key, of `keys` keys; `answered`: keys that have a prediction at all,
    shape (keys,)."""

    sla: Sla
    labels: Labels
    key: Ints
    keys: int
    answered: Mask
    words: Words
    _known: dict[tuple[str, int], Outcome] = field(default_factory=dict)

    def of(self, task: str, window_s: int) -> Outcome:
        """The label of each key that was known within `window_s` seconds of the prediction.

        Of several the earliest counts, or the latest where the SLA says `corrections: last`; the smaller value where
        they were known at once. A label known before its prediction, or of a request that was never answered, or that
        is no label of such a task, is counted and is none. Without one: 0 where its absence says so, else NaN."""
        if (task, window_s) not in self._known:
            self._known[task, window_s] = self._of(task, window_s)
        return self._known[task, window_s]

    def wanted(self, task: str, window_s: int | None = None) -> Mask:
        """Keys for which the task's condition (`given`) holds. `window_s`: None: when its label is mature."""
        given = self.sla.tasks[task].given_task
        if given is None:
            return np.ones(self.keys, np.bool_)
        window_s = self.sla.tasks[given[0]].label_window_s if window_s is None else window_s
        return np.asarray(self.of(given[0], window_s).y == given[1])

    def unknown_tasks(self) -> int:
        """Distinct labels of tasks that the SLA does not know."""
        known = [self.words.known(task) for task in self.sla.tasks]
        odd = np.flatnonzero(~np.isin(self.labels.task, known))
        columns = (self.key, self.labels.task, self.labels.value, self.labels.known_ms)
        return _distinct(tuple(column[odd] for column in columns))

    def _of(self, task: str, window_s: int) -> Outcome:
        spec, labels = self.sla.tasks[task], self.labels
        y = np.full(self.keys, 0.0 if spec.absent == "negative" else np.nan)
        mine = np.flatnonzero(labels.task == self.words.known(task))
        if not len(mine):
            return Outcome(y, Counter(), {})
        mine = mine[labels.known_ms[mine] < matures_ms(self.sla, task, labels.event_ms[mine])]
        mine = mine[self.fresh(mine)]
        event_ms, known_ms = labels.event_ms[mine], labels.known_ms[mine]
        valid = valid_labels(spec.kind, labels.value[mine])
        early, late = known_ms < event_ms, known_ms > event_ms + window_s * 1000
        answered = self.answered[self.key[mine]]
        counts = Counter(
            labels_invalid=int((~valid).sum()),
            labels_before_prediction=int((valid & early).sum()),
            labels_without_row=int((valid & ~answered).sum()),
            labels_late=int((valid & late & answered).sum()),
        )
        counts[f"labels_late:{task}"] = counts["labels_late"]
        good = mine[valid & ~early & ~late & answered]
        sign = -1 if spec.corrections == "last" else 1
        first = first_of_each(
            self.keys, self.key[good], lambda some: [sign * labels.known_ms[good[some]], labels.value[good[some]]]
        )
        there = first >= 0
        y[there] = labels.value[good[first[there]]]
        other = self.key[good[labels.value[good] != y[self.key[good]]]]
        counts["labels_corrected" if spec.corrections == "last" else "corrections_ignored"] = len(np.unique(other))
        hours, seen = np.unique(event_ms // HOUR_MS, return_counts=True)
        return Outcome(y, counts, dict(zip(hours.tolist(), seen.tolist(), strict=True)))

    def fresh(self, mine: Ints) -> Mask:
        """Without labels that came more than once (equal in key, value and time)."""
        key = self.key[mine]
        fresh = np.ones(len(mine), np.bool_)
        times = np.bincount(key, minlength=self.keys)[key]
        some = np.flatnonzero(times > 1)
        if len(some):
            columns = (self.labels.value[mine[some]], self.labels.known_ms[mine[some]], key[some])
            order = np.lexsort(columns)
            fresh[some[order]] = _steps(tuple(column[order] for column in columns))
        return fresh


def _distinct(columns: tuple[NDArray[np.generic], ...]) -> int:
    order = np.lexsort(columns)
    return int(_steps(tuple(column[order] for column in columns)).sum())


def _steps(ordered: tuple[NDArray[np.generic], ...]) -> Mask:
    """Which entries differ from the one before them; NaN is equal to itself."""
    if not len(ordered[0]):
        return np.zeros(0, np.bool_)
    step = np.ones(len(ordered[0]), np.bool_)
    step[1:] = False
    for column in ordered:
        differs = column[1:] != column[:-1]
        if column.dtype.kind == "f":
            differs &= ~(np.isnan(column[1:].astype(np.float64)) & np.isnan(column[:-1].astype(np.float64)))
        step[1:] |= differs
    return step
