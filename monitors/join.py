"""The join of one tick: predictions with their labels, by (id, index), as of an age. Pure.

The result depends on the set of rows only: not on their order, on the number of files, or on rows that came twice.

A row enters with weight 1 also where only a share of the entities is recorded: which ones, a hash of its own says, so
what is compared are the same entities in both arms at any moment. Where that share changes while a rollout runs, later
rows stand for more, or fewer, of the traffic than earlier ones: no difference is biased by that, but the average
over time is another one, so rows are counted by the share they were recorded at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from monitors.columns import CANARY, NO_LABELS, SHADOW, Labels, Words
from monitors.outcomes import Outcomes
from monitors.predictions import Common, Predictions
from monitors.prepared import Prepared
from monitors.rows import Exposed, Scored, Tick
from serinus.evidence import Stream, WorkItem
from serinus.guards import EARLY, HOLDING
from serinus.sla import Sla

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Streams = dict[tuple[Stream, str], tuple[Scored, Scored]]

MINUTE_MS = 60_000
MOST_SHARES = 8
STREAMS: tuple[Stream, Stream] = ("shadow", "canary")


@dataclass(frozen=True, slots=True)
class Due:
    """All rows of the logs whose event time is due at a tick, and no others; `words`: what their numbers mean."""

    predictions: Predictions
    labels: Labels
    words: Words


@dataclass(frozen=True, slots=True)
class Answers:
    """What needs no label: `exposed`, `unlabelled` and `counts` of a `Tick`."""

    exposed: dict[str, Exposed] = field(default_factory=dict)
    unlabelled: Streams = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def horizons(sla: Sla) -> dict[int, tuple[str, ...]]:
    """Seconds until labels are mature -> the tasks for which that is so."""
    return _by_wait({task: sla.horizon_s(task) for task in sla.tasks})


def early_horizons(sla: Sla) -> dict[int, tuple[str, ...]]:
    """Seconds until early labels count -> the tasks that have some cell that looks at them."""
    looked = {cell.task for cell in sla.cells() if cell.metric in EARLY}
    waits = {task: spec.early_window_s for task, spec in sla.tasks.items() if task in looked}
    return _by_wait({task: wait for task, wait in waits.items() if wait is not None})


def join_mature(item: WorkItem, tasks: Iterable[str], due: Due, tick_ms: int) -> Tick:
    """Rows of `tasks`, which have one horizon, that become mature at `tick_ms`.

    A row is dropped where its label is missing (`absent: unlabelled`) or its condition (`given`) does not hold."""
    rows, outcomes = _prepared(item, due)
    streams: Streams = {}
    counts: Counter[str] = Counter()
    seen: dict[tuple[str, int], int] = {}
    for task in tasks:
        outcome = outcomes.of(task, item.sla.tasks[task].label_window_s)
        seen |= {(task, hour): labels for hour, labels in outcome.seen.items()}
        counts += outcome.counts
        wanted, known = outcomes.wanted(task), np.isfinite(outcome.y)
        used, found, lacking = _joined(rows, task, outcome.y, known & wanted)
        streams |= found
        counts["labels_of_unknown_class"] += lacking
        counts["labels_used"] += int((wanted & known)[used].sum())
        counts["rows_unlabelled"] += int((wanted & ~known)[used].sum())
        counts["rows_without_condition"] += int((~wanted)[used].sum())
        if task == next(iter(item.sla.tasks)):
            counts["labels_unknown_task"] += outcomes.unknown_tasks()
    return Tick(tick_ms, streams, {}, dict(+counts), _first_of(streams), labels_seen=seen)


def join_early(item: WorkItem, tasks: Iterable[str], due: Due, tick_ms: int) -> Tick:
    """Rows of `tasks`, whose early window is one, that reach that age at `tick_ms`, with what was known then."""
    rows, outcomes = _prepared(item, due)
    streams: Streams = {}
    counts: Counter[str] = Counter()
    for task in tasks:
        window_s = item.sla.tasks[task].early_window_s or 0
        outcome = outcomes.of(task, window_s)
        good = np.isfinite(outcome.y) & outcomes.wanted(task, window_s)
        used, found, _ = _joined(rows, task, outcome.y, good)
        streams |= found
        counts["early_labels_used"] += int(good[used].sum())
    return Tick(tick_ms, {}, {}, dict(+counts), _first_of(streams), early=streams)


def join_answers(item: WorkItem, predictions: Predictions, words: Words) -> Answers:
    """Answers that were given, and rows that both versions scored, whatever will become known about them.

    A row that was asked twice failed, or was slow, if it once did. `unlabelled`: of tasks with a cell that wants it."""
    rows = Prepared.of(item, predictions, NO_LABELS, words)
    wanted = {cell.task for cell in item.sla.cells() if cell.metric in HOLDING | {"psi", "js"}}
    exposed, unlabelled = {}, Streams()
    for task, spec in item.sla.tasks.items():
        at = rows.of_task(task)
        exposed[task] = _exposed(rows, at)
        if task in wanted:
            unknown = np.full(rows.keys, np.nan)
            for stream, pair in zip(STREAMS, (rows.paired(at), rows.arms(at)), strict=True):
                unlabelled[stream, task], _ = rows.sides(spec.kind, pair, unknown, paired=stream == "shadow")
    live = predictions.common.take(predictions.common.arm != SHADOW)
    return Answers(exposed, unlabelled, {"answers": live.distinct, **_recorded(live)})


def join_exposed(item: WorkItem, predictions: Predictions, words: Words) -> dict[str, Exposed]:
    """Per task, the answers of the two arms that are compared."""
    return join_answers(item, predictions, words).exposed


def combine(tick_ms: int, parts: Iterable[Tick], answers: Answers, corrupt: tuple[str, ...], lost: int = 0) -> Tick:
    """One tick of the parts that have different horizons. `lost`: answers that could not be recorded."""
    counts: Counter[str] = Counter({**answers.counts, "answers_lost": lost})
    whole = Tick(tick_ms, {}, answers.exposed, {}, None, corrupt, unlabelled=answers.unlabelled)
    firsts = []
    for part in parts:
        whole.streams.update(part.streams)
        whole.early.update(part.early)
        whole.labels_seen.update(part.labels_seen)
        counts += Counter(part.counts)
        firsts += [part.first_event_ms] if part.first_event_ms is not None else []
    return replace(whole, counts=dict(counts), first_event_ms=min(firsts, default=None))


def _by_wait(wait_s: dict[str, int]) -> dict[int, tuple[str, ...]]:
    waits: dict[int, list[str]] = {}
    for task, wait in wait_s.items():
        waits.setdefault(wait, []).append(task)
    return {wait: tuple(tasks) for wait, tasks in sorted(waits.items())}


def _prepared(item: WorkItem, due: Due) -> tuple[Prepared, Outcomes]:
    rows = Prepared.of(item, due.predictions, due.labels, due.words)
    return rows, Outcomes(item.sla, due.labels, rows.label_key, rows.keys, rows.answered, due.words)


def _joined(rows: Prepared, task: str, y: Floats, good: Mask) -> tuple[Mask, Streams, int]:
    """Which keys either stream has; both, of the keys that are `good`; labels of classes that a model lacks."""
    at, used = rows.of_task(task), np.zeros(rows.keys, np.bool_)
    streams: Streams = {}
    lacking = 0
    for stream, pair in zip(STREAMS, (rows.paired(at), rows.arms(at)), strict=True):
        for side in pair:
            used[rows.key[side]] = True
        a, b = (side[good[rows.key[side]]] for side in pair)
        kind = rows.item.sla.tasks[task].kind
        streams[stream, task], lost = rows.sides(kind, (a, b), y, paired=stream == "shadow")
        lacking += lost
    return used, streams, lacking


def _exposed(rows: Prepared, at: Ints) -> Exposed:
    at = rows.meant(at)
    all_, key = rows.rows, rows.key[at]
    chosen = rows.one_of_each(at)
    limit_ms, by_key = rows.item.sla.latency_ms, np.zeros((2, rows.keys), np.bool_)
    by_key[0, key[all_.failed[at] | ~np.isfinite(all_.value[at])]] = True
    if limit_ms is not None:
        by_key[1, key[all_.common.latency_us[all_.row[at]] > limit_ms * 1000]] = True
    failed, slow = by_key[:, rows.key[chosen]]
    minute = rows.event_ms(chosen) // MINUTE_MS
    row = all_.row[chosen]
    canary, places = all_.common.arm[row] == CANARY, rows.places(chosen)
    return Exposed(all_.common.entity[row], minute, canary, failed, places, slow if limit_ms is not None else slow[:0])


def _recorded(live: Common) -> dict[str, int]:
    """Answers by the share of entities that was recorded, where that was not all; by the most frequent shares."""
    if (live.recorded == 1).all():
        return {}
    shares = np.unique(live.recorded)
    counts = {f"answers_at_share:{share:.4g}": live.take(live.recorded == share).distinct for share in shares.tolist()}
    most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    rest = sum(count for _, count in most[MOST_SHARES:])
    return {**dict(most[:MOST_SHARES]), **({"answers_at_share:other": rest} if rest else {})}


def _first_of(streams: Streams) -> int | None:
    firsts = [side.event_ms.min() for pair in streams.values() for side in pair if len(side)]
    return int(min(firsts)) if firsts else None
