"""Which slices a row is in, and which values are frequent enough to be slices. Pure, but for reading the log."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monitors.columns import SHADOW, Hashes, Ints, Words
from monitors.predictions import Predictions
from serinus.evidence import WorkItem
from serinus.sla import Sla
from serinus.slices import CROSS, MOST_PLACES, OTHER, Slice, features_of, slice_of

LOOK_BACK_MS = 86_400_000
ENOUGH_ROWS = 10_000
_COHORT = np.uint64(0xD1B54A32D192ED03)


class Reads(Protocol):
    """What of `LogReader` is needed."""

    words: Words

    def predictions(self, start_ms: int, end_ms: int) -> tuple[Predictions, tuple[str, ...]]: ...


def places_of(values: Ints, entity: Hashes, sla: Sla, words: Words) -> Ints:
    """The place of each row in each slice of the SLA, shape (n, slices); -1: in none.

    `values`: numbers of the words of `sla.slice_features`, shape (n, features); `entity`: hashes, shape (n,)."""
    features = sla.slice_features
    places = np.full((len(entity), len(sla.slices)), -1, np.int64)
    for column, (name, rule) in enumerate(sla.slices.items()):
        spec = slice_of(rule)
        if spec.cohorts is not None:
            places[:, column] = cohort_of(entity, spec.cohorts)
            continue
        columns = [values[:, features.index(each)] for each in features_of(name, rule)]
        places[:, column] = _listed(columns, spec, words)
    return places


def cohort_of(entity: Hashes, cohorts: int) -> Ints:
    """In 0 to `cohorts` - 1; independent of the groups of the jackknife, which are the hash's own lowest bits."""
    with np.errstate(over="ignore"):
        mixed = (entity ^ (entity >> np.uint64(31))) * _COHORT
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _COHORT
    return ((mixed >> np.uint64(33)) % np.uint64(cohorts)).astype(np.int64)


def resolved(item: WorkItem, reader: Reads, tick_ms: int) -> WorkItem:
    """The same, with the values of its open slices, as found in the log before `tick_ms`; itself, when it has none.

    The first closed ticks are those before the first look, back to a day before it, as far as there are not enough
    rows: hours are read backwards. Depends on the set of rows alone. What nobody has seen stays open."""
    if not any(slice_of(rule).open for rule in item.sla.slices.values()):
        return item
    seen = _recent(reader, tick_ms)
    rules = {name: slice_of(rule) for name, rule in item.sla.slices.items()}
    found = {name: frequent(name, spec, seen, item.sla, reader.words) for name, spec in rules.items()}
    closed = {name: rules[name].model_copy(update={"values": v}) for name, v in found.items() if v is not None}
    return item.model_copy(update={"sla": item.sla.model_copy(update={"slices": {**item.sla.slices, **closed}})})


def opened(item: WorkItem) -> WorkItem:
    """The same as it was asked for: no frequent values, and no last tick."""
    rules = {name: slice_of(rule) for name, rule in item.sla.slices.items()}
    asked = {
        name: spec if spec.top is None else spec.model_copy(update={"values": None}) for name, spec in rules.items()
    }
    return item.model_copy(update={"last_tick_ms": None, "sla": item.sla.model_copy(update={"slices": asked})})


def frequent(name: str, spec: Slice, rows: Predictions, sla: Sla, words: Words) -> tuple[str, ...] | None:
    """The most frequent values, or combinations, of an open slice, the most frequent first, ties by the text; None
    where there is no answer at all, or the slice is not open. Each answered row counts once."""
    if not spec.open or spec.top is None or not len(rows):
        return None
    features = sla.slice_features
    columns = np.stack([rows.slices[:, features.index(each)] for each in name.split(CROSS)], axis=1)
    texts = list(words.numbers)
    fit = np.array([bool(text) and CROSS not in text and text != OTHER for text in texts] + [False], np.bool_)
    columns = columns[fit[columns].all(axis=1)]
    met, counts = np.unique(columns, axis=0, return_counts=True)
    named = [CROSS.join(texts[each] for each in pair) for pair in met.tolist()]
    best = sorted(zip((-counts).tolist(), named, strict=True))
    return tuple(text for _, text in best[: min(spec.top, MOST_PLACES)])


def _recent(reader: Reads, tick_ms: int) -> Predictions:
    """Answered rows, each once, of the hours before `tick_ms`, until there are enough or a day is over."""
    parts: list[Predictions] = []
    rows, at, back = 0, tick_ms, 3_600_000
    while rows < ENOUGH_ROWS and at > max(0, tick_ms - LOOK_BACK_MS):
        found, _ = reader.predictions(at - back, at)
        parts.append(_once(found))
        rows += len(parts[-1])
        at -= back
    return Predictions.concat(parts, parts[0].slices.shape[1] if parts else 0)


def _once(rows: Predictions) -> Predictions:
    """One score of each answered row, the least by its slices where copies differ."""
    rows = rows.take_rows(rows.common.arm != SHADOW)
    order = np.lexsort((*rows.slices.T[::-1], rows.index, rows.low, rows.high))
    keys = np.stack([rows.high, rows.low, rows.index.astype(np.uint64)])[:, order]
    fresh = np.append(True, (keys[:, 1:] != keys[:, :-1]).any(axis=0))[: len(order)]
    return rows.take(order[fresh])


def _listed(columns: list[Ints], spec: Slice, words: Words) -> Ints:
    """Places by one or two columns of words."""
    values = spec.values or ()
    rest = len(spec.names) - 1 if spec.names[-1] == OTHER and len(spec.names) > len(values) else -1
    if len(columns) == 1:
        return _looked_up(columns[0], [words.known(value) for value in values], words, rest)
    pairs = [tuple(value.split(CROSS)) for value in values]
    firsts, seconds = (list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    table = np.full((len(firsts) + 1, len(seconds) + 1), rest, np.int64)
    for place, (first, second) in enumerate(pairs):
        table[firsts.index(first), seconds.index(second)] = place
    at = [
        _looked_up(column, [words.known(value) for value in known], words, -1)
        for column, known in zip(columns, (firsts, seconds), strict=True)
    ]
    return np.asarray(table[at[0], at[1]])


def _looked_up(column: NDArray[np.int64], numbers: list[int], words: Words, rest: int) -> Ints:
    """The place of each entry in `numbers` (negative ones: never met), else `rest`; one pass, however many."""
    table = np.full(len(words.numbers) + 1, rest, np.int64)
    for place in range(len(numbers) - 1, -1, -1):
        if numbers[place] >= 0:
            table[numbers[place]] = place
    return table[column]
