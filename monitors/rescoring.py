"""Logged requests, scored again: rows of a candidate beside the baseline's, as if both had answered.

The baseline's scores are those in the log where it answered itself; else it is run as well. What a model is given is
what was logged, so both see the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.columns import ARMS, SHADOW, Words
from monitors.predictions import Predictions
from monitors.raw_inputs import Batch, batches, signed
from monitors.scorer import Answers, Scorer, known
from serinus.evidence import WorkItem
from serinus.execute import Executor
from serinus.records import InputRow

__all__ = ["Rescorer"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_ROWS = 2_048
STABLE = ARMS.index("stable")


@dataclass(slots=True)
class Rescorer:
    """`unusable`: rows that could not be compared, by reason; `rows`: those that the candidate scored."""

    item: WorkItem
    baseline: Scorer
    candidate: Scorer
    unusable: Counter[str] = field(default_factory=Counter)
    rows: int = 0

    @classmethod
    def of(cls, item: WorkItem, baseline: Executor, candidate: Executor) -> Rescorer:
        unusable = Counter[str]()
        tasks = frozenset(item.sla.tasks)
        a = Scorer.of(baseline, tasks, "the baseline", unusable)
        b = Scorer.of(candidate, tasks, "the candidate", unusable)
        return cls(item, a, b, unusable)

    def begin(self, rows: int, unusable: Counter[str]) -> None:
        """Go on counting from there, in that counter."""
        self.rows, self.unusable = rows, unusable
        self.baseline, self.candidate = (replace(each, unusable=unusable) for each in (self.baseline, self.candidate))

    def dressed(self, requests: Sequence[InputRow], logged: Predictions, words: Words) -> Predictions:
        """Rows of both versions for the rollout, of the requests' rows that were answered. `requests`: each once, in
        the order of their ids; `logged`: all predictions of their time, in any order, as often as you like."""
        slices, readable = logged.slices.shape[1], signed(requests)
        self.unusable["inputs of requests that cannot be read"] += len(requests) - len(readable)
        requests = [request for request, _ in readable]
        high, low = _ids(requests)
        starts = np.concatenate([[0], np.cumsum([request.rows for request in requests])]).astype(np.int64)
        place = _positions(logged, high, low)
        counts = np.diff(starts)
        inside = place >= 0
        inside[inside] &= (logged.index[inside] >= 0) & (logged.index[inside] < counts[place[inside]])
        logged, place = logged.take(inside), place[inside]
        at = starts[place] + logged.index
        answered = _firsts(logged, at, logged.arm != SHADOW)
        groups = batches(readable, starts, MOST_ROWS)
        total, rows = int(starts[-1]), at[answered]
        wanted = np.zeros(total, np.bool_)
        wanted[rows] = True
        new = self.candidate.answers(groups, wanted)
        old = self._baseline(groups, logged, at, wanted, words)
        scored = np.zeros(total, np.bool_)
        for task in new:
            scored |= known(new[task])
        self.rows += int((scored & wanted).sum())
        like = logged.take(answered)
        like = like.changed(rollout=np.full(len(like), words.number(self.item.rollout), np.int64))
        parts = [
            _rows(like, answers[task][rows], words.number(task), version, arm)
            for version, answers, arm in ((self.item.baseline, old, STABLE), (self.item.candidate, new, SHADOW))
            for task in sorted(answers)
        ]
        return Predictions.concat(parts, slices)

    def _baseline(
        self, groups: Sequence[Batch], logged: Predictions, at: Ints, wanted: NDArray[np.bool_], words: Words
    ) -> Answers:
        """What the log has of the baseline; what it lacks, by running it."""
        total = len(wanted)
        answers: Answers = {}
        lacking = np.zeros(total, np.bool_)
        for task in self.item.sla.tasks:
            mine = (logged.version == self.item.baseline) & ~logged.failed & np.isfinite(logged.value)
            rows = _firsts(logged, at, mine & (logged.task == words.known(task)))
            if task in self.baseline.tasks:
                shares = logged.shares_of(rows) if self.item.sla.tasks[task].kind == "multiclass" else None
                values = logged.value[rows] if shares is None else shares
                answers[task] = np.full((total, *values.shape[1:]), np.nan)
                answers[task][at[rows]] = values
                lacking |= wanted & ~known(answers[task])
        if lacking.any():
            for task, values in self.baseline.answers(groups, lacking).items():
                if answers[task].shape != values.shape:  # no row of a multiclass task was logged
                    answers[task] = np.full(values.shape, np.nan)
                gap = ~known(answers[task])
                answers[task][gap] = values[gap]
        return answers


def _rows(like: Predictions, values: NDArray[Any], task: int, version: int, arm: int) -> Predictions:
    """One entry per answered row of `like` that this version has an answer to."""
    many, have = values.ndim > 1, known(values)
    classes = np.full(len(like), -1, np.int64)
    if many:
        classes[have] = np.arange(int(have.sum()))
    return like.changed(
        arm=np.full(len(like), arm, np.int64),
        task=np.full(len(like), task, np.int64),
        version=np.full(len(like), version, np.int64),
        value=(values.max(axis=1, initial=-np.inf) if many else values).astype(np.float64),
        failed=np.zeros(len(like), np.bool_),
        classes=classes,
        shares=values[have].astype(np.float32) if many else np.zeros((0, 0), np.float32),
    ).take(have)


def _ids(requests: Sequence[InputRow]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    both = np.frombuffer(b"".join(request.id for request in requests), ">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]


def _positions(rows: Predictions, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> Ints:
    """For each row the place of its id among these, which are there once each; -1: it is not there."""
    highs, lows = np.concatenate([high, rows.high]), np.concatenate([low, rows.low])
    later = np.arange(len(highs)) >= len(high)
    order = np.lexsort((later, lows, highs))
    start = np.append(True, (np.diff(highs[order]) != 0) | (np.diff(lows[order]) != 0))[: len(order)]
    heads = np.where(later[order[start]], -1, order[start])
    place = np.empty(len(order), np.int64)
    place[order] = heads[np.cumsum(start) - 1] if len(order) else 0
    return place[len(high) :]


def _firsts(rows: Predictions, at: Ints, chosen: NDArray[np.bool_]) -> Ints:
    """Of each place among `at` one chosen row, by nothing but what the rows say."""
    which = np.flatnonzero(chosen)
    minor = [*rows.slices[which].T, rows.entity[which], rows.value[which]]
    order = which[np.lexsort((*minor, rows.arm[which], at[which]))]
    places = at[order]
    return np.asarray(order[np.append(True, places[1:] != places[:-1])[: len(order)]])
