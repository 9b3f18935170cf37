"""What is kept of the stable version's answers: by hour of event time, task and place, with labels and without.

Counts and sums of multiples of 2**-26 add exactly, so the order of rows and a restart cannot show. Hours older than a
week are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from monitors.accumulators import State
from monitors.groupings import exactly
from monitors.rows import Scored
from monitors.summands import LEAST_P
from serinus.baseline import OVERALL, Baseline
from serinus.sla import Sla

__all__ = ["HealthCounts", "places_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOUR_MS, WEEK_H = 3_600_000, 168
N, Y, P, LOSS, SQUARES = 0, 1, 2, 3, 4
"""Columns of the sums: rows, positives, probabilities, log-losses and their squares."""
EVEN = 44
_LEAST_LOGIT, _MOST_LOGIT = float(logit(1e-3)), float(logit(0.9975))


def places_of(sla: Sla) -> tuple[str, ...]:
    """Everybody, then every place of every slice."""
    return (OVERALL, *(f"{name}={value}" for name, values in sla.slice_lists.items() for value in values))


@dataclass(slots=True)
class HealthCounts:
    """One task. `edges`: of the histograms of labelled scores, (K - 1,); `told`: of the baseline's own, (B - 1,).

    `hist`: event hour -> labelled rows, shape (places, 2, K), by label; `sums`: event hour -> (places, 5);
    `scores`: event hour -> rows with or without a label in the bins of `told`, (places, B)."""

    binary: bool
    places: int
    edges: Floats
    told: Floats
    hist: dict[int, NDArray[np.uint32]] = field(default_factory=dict)
    sums: dict[int, Floats] = field(default_factory=dict)
    scores: dict[int, NDArray[np.uint32]] = field(default_factory=dict)

    @classmethod
    def empty(cls, sla: Sla, task: str, baseline: Baseline) -> HealthCounts:
        own = baseline.task(task)
        told = np.array(own.scores.edges if own is not None and own.scores is not None else (), np.float64)
        even = expit(np.linspace(_LEAST_LOGIT, _MOST_LOGIT, EVEN))
        return cls(sla.tasks[task].kind == "binary", len(places_of(sla)), np.union1d(told, even), told)

    def add(self, labelled: Scored, answered: Scored, columns: list[int]) -> None:
        """Rows whose labels are mature, and rows that were answered. `columns`: the number of places of each slice."""
        if self.binary and len(labelled):
            self._add_labelled(labelled, columns)
        fine = answered.take(np.isfinite(answered.p))
        if len(self.told) and len(fine):
            where, shape = np.searchsorted(self.told, fine.p, side="right"), (self.places, len(self.told) + 1)
            for hour, mine in _hours(fine):
                counts = self.scores.setdefault(hour, np.zeros(shape, np.uint32))
                for which, place in _places(fine.slices[mine], columns):
                    np.add.at(counts, (place, where[mine][which]), np.uint32(1))

    def drop(self, before: int) -> None:
        """Forget the hours before one."""
        for kept in (self.hist, self.sums, self.scores):
            for hour in [hour for hour in kept if hour < before]:
                del kept[hour]

    def state(self) -> State:
        labelled, answered = sorted(self.hist), sorted(self.scores)
        return {
            "labelled": np.array(labelled, np.int64),
            "answered": np.array(answered, np.int64),
            "hist": np.array([self.hist[hour] for hour in labelled], np.uint32),
            "sums": np.array([self.sums[hour] for hour in labelled], np.float64),
            "scores": np.array([self.scores[hour] for hour in answered], np.uint32),
        }

    def load(self, arrays: State) -> None:
        """Take what `state` gave of the same task. Raises KeyError or ValueError when it is damaged."""
        shapes = {"hist": (self.places, 2, len(self.edges) + 1), "sums": (self.places, 5)}
        shapes["scores"] = (self.places, len(self.told) + 1)
        labelled, answered = (arrays[name].astype(np.int64).tolist() for name in ("labelled", "answered"))
        self.hist = dict(zip(labelled, arrays["hist"].astype(np.uint32).reshape(-1, *shapes["hist"]), strict=True))
        self.sums = dict(zip(labelled, arrays["sums"].astype(np.float64).reshape(-1, *shapes["sums"]), strict=True))
        kept = arrays["scores"].astype(np.uint32).reshape(-1, *shapes["scores"])
        self.scores = dict(zip(answered, kept, strict=True))

    def _add_labelled(self, rows: Scored, columns: list[int]) -> None:
        safe = np.clip(rows.p, LEAST_P, 1 - LEAST_P)
        loss = exactly(-np.where(rows.y > 0, np.log(safe), np.log1p(-safe)))
        each = np.stack([np.ones(len(rows)), rows.y, exactly(rows.p), loss, exactly(loss**2)], axis=1)
        where, label = np.searchsorted(self.edges, rows.p, side="right"), rows.y.astype(np.int64)
        for hour, mine in _hours(rows):
            hist = self.hist.setdefault(hour, np.zeros((self.places, 2, len(self.edges) + 1), np.uint32))
            sums = self.sums.setdefault(hour, np.zeros((self.places, 5)))
            for which, place in _places(rows.slices[mine], columns):
                np.add.at(hist, (place, label[mine][which], where[mine][which]), np.uint32(1))
                np.add.at(sums, place, each[mine][which])


def _hours(rows: Scored) -> list[tuple[int, Ints]]:
    hours = rows.event_ms // HOUR_MS
    return [(hour, np.flatnonzero(hours == hour)) for hour in np.unique(hours).tolist()]


def _places(slices: Ints, columns: list[int]) -> list[tuple[Ints, Ints]]:
    """(rows, their places) of everybody, and of each slice: those that have a place there."""
    found = [(np.arange(len(slices)), np.zeros(len(slices), np.int64))]
    base = 1
    for column, size in enumerate(columns):
        which = np.flatnonzero(slices[:, column] >= 0)
        found.append((which, base + slices[which, column]))
        base += size
    return found
