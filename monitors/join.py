"""The join of one tick: mature predictions with their labels, by (id, index). Pure.

The result depends on the set of rows only: not on their order, on the number of files, or on rows that came twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.columns import CANARY, CONTROL, NO_LABELS, Labels, Predictions, Words
from monitors.keys import matched, numbered, ordered
from monitors.losses import NONE, judged, valid_labels
from monitors.rows import Exposed, Scored, Tick
from monitors.slices import places_of
from serinus.evidence import Stream, WorkItem
from serinus.sla import Sla
from serinus.tasks import TaskKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Due:
    """All rows of the logs whose event time is due at a tick, and no others; `words`: what their numbers mean."""

    predictions: Predictions
    labels: Labels
    words: Words


@dataclass(frozen=True, slots=True)
class Outcome:
    """Labels by key, shape (keys,): 0., 1. or NaN; what was counted on the way."""

    y: Floats
    counts: Counter[str]


def horizons(sla: Sla) -> dict[int, tuple[str, ...]]:
    """Seconds until labels are mature -> the tasks for which that is so."""
    waits: dict[int, list[str]] = {}
    for task in sla.tasks:
        waits.setdefault(sla.horizon_s(task), []).append(task)
    return {wait: tuple(tasks) for wait, tasks in sorted(waits.items())}


def join_mature(item: WorkItem, tasks: Iterable[str], due: Due, tick_ms: int) -> Tick:
    """Rows of `tasks`, which have one horizon, that become mature at `tick_ms`.

    A row is dropped where its label is missing (`absent: unlabelled`) or its condition (`given`) does not hold."""
    mine = due.predictions.take(due.predictions.rollout == due.words.known(item.rollout))
    seen = due.labels.take(due.labels.known_ms < tick_ms)
    keys, of_row, of_label = _keys(mine, seen)
    event_ms = np.zeros(keys, np.int64)
    event_ms[of_row] = mine.event_ms
    event_ms[of_label] = seen.event_ms
    places = places_of(mine.slices, mine.entity, item.sla, due.words)
    labelled = _Labelled(item.sla, seen, of_label, event_ms, due.words)
    streams: dict[tuple[Stream, str], tuple[Scored, Scored]] = {}
    counts: Counter[str] = Counter()
    for task in tasks:
        outcome = labelled.outcome(task)
        rows = _ordered(mine, of_row, mine.task == due.words.known(task))
        rows = rows[np.isfinite(mine.value[rows])]
        sides = _paired(item, mine, of_row, rows), _arms(item, mine, of_row, rows)
        used = np.zeros(keys, np.bool_)
        used[np.concatenate([of_row[side] for pair in sides for side in pair])] = True
        wanted = labelled.wanted(task)
        known = np.isfinite(outcome.y) & wanted
        counts += outcome.counts
        counts["labels_used"] += int(known[used].sum())
        counts["rows_unlabelled"] += int((wanted & ~np.isfinite(outcome.y))[used].sum())
        counts["rows_without_condition"] += int((~wanted)[used].sum())
        names: tuple[Stream, Stream] = ("shadow", "canary")
        for stream, pair in zip(names, sides, strict=True):
            kind = item.sla.tasks[task].kind
            chosen = [side[known[of_row[side]]] for side in pair]
            a, b = (_scored(kind, mine, side, outcome.y[of_row[side]], places) for side in chosen)
            streams[stream, task], lacking = _sound(a, b, paired=stream == "shadow")
            if lacking:
                counts["labels_of_unknown_class"] += lacking
    firsts = [side.event_ms.min() for pair in streams.values() for side in pair if len(side)]
    return Tick(tick_ms, streams, {}, dict(counts), int(min(firsts)) if firsts else None)


def join_exposed(item: WorkItem, predictions: Predictions, words: Words) -> dict[str, Exposed]:
    """Per task, the answers of the two arms that are compared; a row that was asked twice failed if it once did."""
    mine = predictions.take(predictions.rollout == words.known(item.rollout))
    _, of_row, _ = _keys(mine, NO_LABELS)
    places = places_of(mine.slices, mine.entity, item.sla, words)
    exposed = {}
    for task in item.sla.tasks:
        chosen = mine.task == words.known(task)
        chosen &= ((mine.arm == CANARY) & (mine.version == item.candidate)) | (
            (mine.arm == CONTROL) & (mine.version == item.baseline)
        )
        rows = _ordered(mine, of_row, chosen, failed_first=True)
        rows = _first(rows, of_row)
        minute = mine.event_ms[rows] // MINUTE_MS
        exposed[task] = Exposed(mine.entity[rows], minute, mine.arm[rows] == CANARY, mine.failed[rows], places[rows])
    return exposed


def combine(
    tick_ms: int,
    parts: Iterable[Tick],
    exposed: dict[str, Exposed],
    corrupt: tuple[str, ...],
    counted: dict[str, int] | None = None,
) -> Tick:
    """One tick of the parts that have different horizons. `counted`: what is counted besides."""
    streams: dict[tuple[Stream, str], tuple[Scored, Scored]] = {}
    counts: Counter[str] = Counter(counted)
    firsts = []
    for part in parts:
        streams |= part.streams
        counts += Counter(part.counts)
        firsts += [part.first_event_ms] if part.first_event_ms is not None else []
    return Tick(tick_ms, streams, exposed, dict(counts), min(firsts, default=None), corrupt)


def _keys(predictions: Predictions, labels: Labels) -> tuple[int, Ints, Ints]:
    """How many distinct (id, index) there are, and the number of each prediction's and of each label's."""
    columns = ("high", "low", "index")
    both = (np.concatenate([getattr(predictions, name), getattr(labels, name)]) for name in columns)
    count, number = numbered(*both)
    return count, number[: len(predictions)], number[len(predictions) :]


@dataclass(frozen=True, slots=True)
class _Labelled:
    """Visible labels with the number of each one's key (`key`), and the event time of every key."""

    sla: Sla
    labels: Labels
    key: Ints
    event_ms: Ints
    words: Words

    def outcome(self, task: str) -> Outcome:
        """The label of each key known within the task's window: the earliest (ties: the smaller value) wins."""
        spec, labels, counts = self.sla.tasks[task], self.labels, Counter[str]()
        mine = np.flatnonzero(labels.task == self.words.known(task))
        valid = valid_labels(spec.kind, labels.value[mine])
        counts["labels_invalid"] = int((~valid).sum())
        mine = mine[valid]
        order = np.lexsort((labels.value[mine], labels.known_ms[mine], self.key[mine]))
        first = _first(mine[order], self.key)
        late = labels.known_ms[first] > self.event_ms[self.key[first]] + spec.label_window_s * 1000
        counts["labels_late"] = int(late.sum())
        y = np.full(len(self.event_ms), 0.0 if spec.absent == "negative" else np.nan)
        y[self.key[first[~late]]] = labels.value[first[~late]]
        return Outcome(y, counts)

    def wanted(self, task: str) -> Mask:
        """Keys for which the task's condition (`given`) holds."""
        given = self.sla.tasks[task].given_task
        if given is None:
            return np.ones(len(self.event_ms), np.bool_)
        return np.asarray(self.outcome(given[0]).y == given[1])


def _paired(item: WorkItem, rows: Predictions, of_row: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Rows that both versions scored, whichever arm they came by."""
    clean = order[~rows.failed[order]]
    a, b = (_first(clean[rows.version[clean] == version], of_row) for version in (item.baseline, item.candidate))
    return matched(a, b, of_row, int(of_row.max(initial=-1)) + 1)


def _arms(item: WorkItem, rows: Predictions, of_row: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Control and canary, with whatever answered: by the intention to treat."""
    meant = ((rows.arm == CONTROL) & (rows.version == item.baseline)) | (
        (rows.arm == CANARY) & (rows.version == item.candidate)
    )
    kept = _first(order[meant[order]], of_row)
    return kept[rows.arm[kept] == CONTROL], kept[rows.arm[kept] == CANARY]


def _ordered(rows: Predictions, of_row: Ints, chosen: Mask, *, failed_first: bool = False) -> Ints:
    """The chosen rows in an order that only their content gives: by key, then arm, ...

    Of one row of each version, one of them a shadow's, no order is asked for."""

    def doubtful(at: Ints) -> Mask:
        version, live = rows.version[at], rows.arm[at] <= CANARY
        return np.asarray((version[1:] == version[:-1]) | (live[1:] & live[:-1]))

    def minor(at: Ints) -> list[NDArray[Any]]:
        failed = rows.failed[at] ^ failed_first
        first = (rows.arm[at], failed) if failed_first else (failed, rows.arm[at])
        return [*rows.slices[at].T, rows.entity[at], rows.value[at], *first]

    return ordered(np.flatnonzero(chosen), of_row, doubtful, minor)


def _first(ordered: Ints, key: Ints) -> Ints:
    """The first of each key, of rows ordered by key."""
    keys = key[ordered]
    return np.asarray(ordered[np.append(True, keys[1:] != keys[:-1])[: len(keys)]])


def _scored(kind: TaskKind, rows: Predictions, at: Ints, label: Floats, places: Ints) -> Scored:
    y, p, loss = judged(kind, label, rows.value[at], rows.shares_of(at) if kind == "multiclass" else NONE)
    return Scored(rows.event_ms[at], rows.entity[at], y, p, places[at], loss)


def _sound(a: Scored, b: Scored, *, paired: bool) -> tuple[tuple[Scored, Scored], int]:
    """Both sides without the rows whose label is a class that the model lacks (where `paired`: one of the models), and
    how many rows that were."""
    fine_a, fine_b = np.isfinite(a.p), np.isfinite(b.p)
    if paired:
        fine_a = fine_b = fine_a & fine_b
    lacking = int((~fine_a).sum()) + (0 if paired else int((~fine_b).sum()))
    return ((a.take(fine_a), b.take(fine_b)) if lacking else (a, b)), lacking
