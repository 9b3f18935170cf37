"""What `baseline.json` says of the validation rows: each raw input and each task, for everybody and by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.baseline import MAX_CATEGORIES, OVERALL
from serinus.tasks import InputSpec

__all__ = ["Measure", "baseline_of"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Measure = Callable[[str, Array, Array], Mapping[str, Any]]
"""(task, labels [n], answers [n, ...]) -> what is told of it, such as `serinus.training.metrics.Quality.as_dict`."""

QUANTILES = np.arange(1, 20) / 20
SLICE_CATEGORIES, MOST_VALUES, MOST_PLACES, LEAST_ROWS = 50, 30, 60, 200
"""Categories told of a slice; an input is sliced by that has so few values; slices altogether; rows of a slice."""
WORD = 256
PARTS, LEAST_PART = 10, 500
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def baseline_of(
    inputs: Sequence[InputSpec],
    raw: Mapping[str, Array],
    labels: Mapping[str, Array],
    answers: Mapping[str, Array],
    measure: Measure,
    *,
    event_ms: npt.NDArray[np.int64] | None = None,
    slices: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What is written as `baseline.json`.

    `raw`, `labels`, `answers`: by input and task, [n]; `event_ms`: [n], of the rows, Unix ms; without it nothing is
    told of how fast inputs move. `slices`: texts to slice by; None: those with few values."""
    rows = len(next(iter(raw.values())))
    scalars = [spec for spec in inputs if spec.name in raw and not spec.shape and np.ndim(raw[spec.name]) == 1]
    places = {OVERALL: np.ones(rows, np.bool_)} | _slices(scalars, raw, slices)
    told = {}
    for task, said in answers.items():
        y, p = np.asarray(labels[task]), np.asarray(said)
        here = {name: {**measure(task, y[inside], p[inside]), **_scores(p[inside])} for name, inside in places.items()}
        told[task] = {**here.pop(OVERALL), "slices": here}
    seen = {spec.name: _places(spec, np.asarray(raw[spec.name]), places, event_ms) for spec in scalars}
    return {"format": 1, "rows": rows, "tasks": told, "inputs": seen}


def _places(
    spec: InputSpec, column: Array, places: Mapping[str, Mask], event_ms: npt.NDArray[np.int64] | None
) -> dict[str, Any]:
    """Of everybody, and of each slice in the same bins: one can be compared with the other."""
    found = {OVERALL: _input(spec, column, event_ms)}
    for name, inside in places.items():
        if name != OVERALL:
            found[name] = _input(
                spec, column[inside], event_ms if event_ms is None else event_ms[inside], found[OVERALL]
            )
    return found


def _slices(specs: Sequence[InputSpec], raw: Mapping[str, Array], wanted: Sequence[str] | None) -> dict[str, Mask]:
    """Place -> its rows: values of texts that have few of them, the inputs in their order."""
    found: dict[str, Mask] = {}
    for spec in specs:
        if spec.datatype != "BYTES" or (wanted is not None and spec.name not in wanted):
            continue
        values = np.asarray(raw[spec.name], object)
        counts = Counter(str(value) for value in values.tolist())
        if len(counts) > MOST_VALUES and wanted is None:
            continue
        for value, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
            if value and len(value) <= WORD // 2 and count >= LEAST_ROWS and len(found) < MOST_PLACES:
                found[f"{spec.name}={value}"] = np.asarray(values == value, np.bool_)
    return found


def _scores(answers: Array) -> dict[str, Any]:
    """The histogram of one answer a row; a task whose answer is several numbers has none."""
    if answers.ndim != 1 or not len(answers):
        return {}
    return {"scores": _histogram(answers.astype(np.float64))}


def _histogram(values: npt.NDArray[np.float64], like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Bins that end at quantiles, or those of another. `values`: finite, at least one."""
    edges = np.array(like["edges"]) if like else np.unique(np.quantile(values, QUANTILES, method="inverted_cdf"))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "shares": (counts / len(values)).tolist()}


def _input(
    spec: InputSpec,
    values: Array,
    event_ms: npt.NDArray[np.int64] | None,
    like: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What is told of one input in one place. `like`: what is told of everybody, whose bins it takes."""
    told: dict[str, Any] = {"rows": len(values)}
    if spec.datatype == "BYTES":
        known = np.array([str(value) for value in values.tolist()], object)
        present = np.asarray(known != "", np.bool_)
    else:
        known = values.astype(np.float64)
        present = np.isfinite(known)
    told["missing"] = float(1 - present.mean()) if len(values) else 0.0
    if not present.any():
        return told
    bins: npt.NDArray[np.int64]
    if spec.datatype == "BYTES":
        shares, bins = _categories(known[present], [*(like or {}).get("categories", ())][:SLICE_CATEGORIES])
        told |= {"categories": shares, "rest": max(0.0, 1 - sum(shares.values()))}
    else:
        numbers = known[present]
        told["numbers"] = _histogram(numbers, (like or {}).get("numbers"))
        told |= {"low": float(numbers.min()), "high": float(numbers.max()), "mean": float(numbers.mean())}
        bins = np.searchsorted(told["numbers"]["edges"], numbers, side="right")
    told["wander"] = _wander(bins, event_ms if event_ms is None else event_ms[present])
    if event_ms is not None:
        told |= _spell(known[present], event_ms[present])
    return told


def _categories(values: Array, like: Sequence[str]) -> tuple[dict[str, float], npt.NDArray[np.int64]]:
    """(The most frequent texts with their shares, or those of `like`; the place of each value's text among them)."""
    words, number, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    count = dict(zip(words.tolist(), counts.tolist(), strict=True))
    frequent = sorted(count, key=lambda word: (-count[word], word))[:MAX_CATEGORIES]
    listed = like or [word for word in frequent if len(word) <= WORD]
    shares = {word: count.get(word, 0) / len(values) for word in listed}
    place = {word: at for at, word in enumerate(listed[:SLICE_CATEGORIES])}
    rank = np.array([place.get(word, len(place)) for word in words.tolist()], np.int64)
    return shares, rank[number]


def _wander(bins: npt.NDArray[np.int64], event_ms: npt.NDArray[np.int64] | None) -> float:
    """The greatest population stability index of the days, or without times of consecutive parts, against the whole:
    how far a healthy stream wanders. Of shuffled rows without times that is only chance."""
    if event_ms is None:
        parts = min(PARTS, len(bins) // LEAST_PART)
        each = np.array_split(bins, parts) if parts > 1 else []
    else:
        days = event_ms // DAY_MS
        each = [bins[days == day] for day in np.unique(days).tolist()]
        each = [part for part in each if len(part) >= LEAST_PART]
    if len(each) < 2:
        return 0.0
    size = int(bins.max()) + 1
    whole = _shares(np.bincount(bins, minlength=size))
    counted = [_shares(np.bincount(part, minlength=size)) for part in each]
    return float(max(((p - whole) * np.log(p / whole)).sum() for p in counted))


def _shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray((counts + 0.5) / (counts + 0.5).sum())


def _spell(values: Array, event_ms: npt.NDArray[np.int64]) -> dict[str, int]:
    """For how long more than half of an hour's rows had values that were there in every hour before (hours without a
    row do not count as a change), and the time from the first row to the last."""
    hours = event_ms // HOUR_MS
    order = np.argsort(hours, kind="stable")
    starts = np.flatnonzero(np.diff(hours[order], prepend=-1))
    born: dict[Any, int] = {}
    longest = 0
    for part in np.split(order, starts[1:]):
        hour = int(hours[part[0]])
        words, counts = np.unique(values[part], return_counts=True)
        born = {word: born.get(word, hour) for word in words.tolist()}
        ages = np.array([hour - born[word] for word in words.tolist()])
        by_age = np.argsort(-ages, kind="stable")
        half = by_age[np.searchsorted(np.cumsum(counts[by_age]), counts.sum() / 2, side="right")]
        longest = max(longest, int(ages[half]) * 3_600)
    span = (int(hours.max()) - int(hours.min()) + 1) * 3_600
    return {"spell_s": longest, "span_s": span}
