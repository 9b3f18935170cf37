"""How the values of raw inputs are counted: which column each row adds to, against the bins of the baselines. Pure.

A layout names, for every input that is checked, its columns: rows, missing, odd (a text that the baseline had not; a
number outside its range), unknown (one for each version), then the bins of the baseline.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitors.drift import shares_of
from monitors.references import Reference
from serinus.archive_rows import entity_hash
from serinus.baseline import OVERALL, InputBaseline
from serinus.limits import InputLimits
from serinus.sla import Sla

__all__ = ["Gauge", "Layout"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

ROWS, MISSING, ODD, UNKNOWN = 0, 1, 2, 3
MOST_BINS = 50
"""Categories that have a bin of their own in the divergences, the most frequent ones; the others share one."""
BEYOND = 0.1
"""Of the distance between the least and the greatest number: only farther outside counts as out of range."""
MOST_SLICED, LEAST_STALE_S = 40, 10_800


@dataclass(frozen=True, slots=True)
class Gauge:
    """One raw input. `base`: its first column; `width`: how many it has; `versions`: how many columns of unknowns.

    `told`: what the stable version's baseline says of everybody, None when nothing. `codes`: of a text, its row in
    `table`, shape (words + 1, 2 + versions): bin, odd, unknown...; the last row is for all other texts. `edges`: of a
    number; `low`, `high`: outside is out of range."""

    name: str
    limits: InputLimits
    told: InputBaseline | None
    base: int
    versions: int
    text: bool
    codes: dict[str, int]
    table: Ints
    edges: Floats
    low: float
    high: float

    @property
    def bins(self) -> int:
        """Bins of the divergences; 0 where there is nothing to compare with."""
        if self.told is None:
            return 0
        return int(self.table[:, 0].max()) + 1 if self.text else len(self.edges) + 1

    @property
    def width(self) -> int:
        return UNKNOWN + self.versions + self.bins

    @property
    def first_bin(self) -> int:
        return self.base + UNKNOWN + self.versions

    @property
    def stale_s(self) -> int | None:
        """So long may the values stay the same; None: not checked."""
        return self.stale_s_of(self.told)

    def stale_s_of(self, told: InputBaseline | None) -> int | None:
        """The same in one place, of which the baseline says `told`."""
        if self.limits.stale_s is not None or told is None:
            return self.limits.stale_s
        spell, span = told.spell_s, told.span_s
        if spell is None or span is None or span < 86_400 or spell > min(span // 4, 36_000):
            return None
        return max(2 * spell, LEAST_STALE_S)

    def columns(self, values: NDArray[Any] | None, rows: int) -> list[tuple[Ints, Ints]]:
        """(rows, columns) that one more is to be added to. `values`: shape (rows,); None: none has a value."""
        every = np.arange(rows)
        found = [(every, np.full(rows, self.base + ROWS))]
        present = self.present(values, rows)
        found.append((every[~present], np.full(int((~present).sum()), self.base + MISSING)))
        here = every[present]
        if values is None or not len(here):
            return found
        if self.text:
            said = self.table[[self.codes.get(str(word), -1) for word in values[here].tolist()]]
            where, flags = said[:, 0], said[:, 1:].astype(np.bool_)
        else:
            numbers = values[here].astype(np.float64)
            where = np.searchsorted(self.edges, numbers, side="right")
            outside = ~((numbers >= self.low) & (numbers <= self.high))
            flags = np.zeros((len(here), 1 + self.versions), np.bool_)
            flags[:, 0] = outside
        for at in range(flags.shape[1]):
            found.append((here[flags[:, at]], np.full(int(flags[:, at].sum()), self.base + ODD + at)))
        if self.bins:
            found.append((here, self.first_bin + where))
        return found

    def present(self, values: NDArray[Any] | None, rows: int) -> NDArray[np.bool_]:
        """Which rows have a value of the right kind: no NaN, no empty text, no text for a number."""
        if values is None or values.ndim != 1 or (values.dtype == np.object_) != self.text:
            return np.zeros(rows, np.bool_)
        return np.asarray(values != "", np.bool_) if self.text else ~np.isnan(values.astype(np.float64))

    def hashes(self, values: NDArray[Any]) -> Hashes:
        """64 bits for each value, equal for equal ones. `values`: present ones."""
        if self.text:
            return np.array([entity_hash(str(word)) for word in values.tolist()], np.uint64)
        bits = (values.astype(np.float64) + 0.0).view(np.uint64)
        with np.errstate(over="ignore"):  # splitmix64 (Steele, Lea and Flood 2014)
            z = bits + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return np.asarray(z ^ (z >> np.uint64(31)))

    def shares(self, told: InputBaseline) -> Floats | None:
        """The baseline's own shares in the gauge's bins, for `told` of any place; None where it has none."""
        if not self.text:
            if told.numbers is None or told.numbers.edges != tuple(self.edges.tolist()):
                return None  # other bins cannot be compared
            return shares_of(np.array(told.numbers.shares) * max(told.rows, 1))
        if not told.categories:
            return None
        counts = np.zeros(self.bins)
        for word, share in told.categories.items():
            counts[self.table[self.codes.get(word, -1), 0]] += share
        counts[self.table[-1, 0]] += told.rest
        return shares_of(counts * max(told.rows, 1))

    def unknown_in(self, told: InputBaseline | None, words: frozenset[str]) -> float:
        """The share of the baseline's own rows whose text is not among `words`; what it does not list may all be."""
        if told is None or not told.categories:
            return 0.0
        return min(1.0, told.rest + sum(share for word, share in told.categories.items() if word not in words))


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything that is counted. `references`: of the stable version first, then of others; `places`: "overall", then
    slices of one feature; `features`: feature -> value -> place."""

    references: tuple[Reference, ...]
    gauges: tuple[Gauge, ...]
    places: tuple[str, ...]
    features: dict[str, dict[str, int]]
    digest: str = field(default="")

    @property
    def width(self) -> int:
        """Columns of all gauges together."""
        return self.gauges[-1].base + self.gauges[-1].width if self.gauges else 0

    @classmethod
    def of(cls, sla: Sla, references: tuple[Reference, ...]) -> Layout:
        """`references`: of the baseline version first. Inputs that are never recorded are not checked."""
        first = references[0].baseline
        told = {name: places.get(OVERALL) for name, places in first.inputs.items()}
        named = {*told, *sla.inputs, *(name for each in references for name in each.words)}
        gauges: list[Gauge] = []
        for name in sorted(named - set(sla.serving.inputs_exclude)):
            base = gauges[-1].base + gauges[-1].width if gauges else 0
            gauges.append(_gauge(name, sla.inputs.get(name, InputLimits()), told.get(name), base, references))
        places, features = _places(sla)
        key = [[each.version, each.digest] for each in references], places, sla.inputs, sla.serving.inputs_exclude
        plain = msgspec.json.encode(key, enc_hook=lambda word: word.model_dump())
        return cls(references, tuple(gauges), places, features, hashlib.sha256(plain).hexdigest())

    def places_of(self, raw: dict[str, NDArray[Any]], rows: int) -> list[Ints]:
        """For everybody and for each feature, the place of each row, -1 for none; each shape (rows,)."""
        found = [np.zeros(rows, np.int64)]
        for feature, values in self.features.items():
            column = raw.get(feature)
            if column is not None and column.ndim == 1:
                found.append(np.array([values.get(_text(word), -1) for word in column.tolist()], np.int64))
        return found


def _places(sla: Sla) -> tuple[tuple[str, ...], dict[str, dict[str, int]]]:
    """The cheap slices: listed values of one feature."""
    places: list[str] = [OVERALL]
    features: dict[str, dict[str, int]] = {}
    for name, values in sla.slice_lists.items():
        if "*" in name or name not in sla.slice_features:
            continue
        for value in values:
            if value != "other" and len(places) <= MOST_SLICED:
                features.setdefault(name, {})[value] = len(places)
                places.append(f"{name}={value}")
    return tuple(places), features


def _gauge(
    name: str, limits: InputLimits, told: InputBaseline | None, base: int, references: tuple[Reference, ...]
) -> Gauge:
    vocabularies = [each.words.get(name) for each in references]
    text = any(words is not None for words in vocabularies) or bool(told and told.categories)
    edges = np.array(told.numbers.edges if told is not None and told.numbers is not None else (), np.float64)
    low, high = -np.inf, np.inf
    if told is not None and told.low is not None and told.high is not None:
        more = BEYOND * (told.high - told.low)
        low, high = told.low - more, told.high + more
    codes, table = _codes(told, vocabularies) if text else ({}, np.zeros((1, 2 + len(references)), np.int64))
    return Gauge(name, limits, told, base, len(references), text, codes, table, edges, low, high)


def _codes(told: InputBaseline | None, vocabularies: Sequence[frozenset[str] | None]) -> tuple[dict[str, int], Ints]:
    seen = told.categories if told is not None else {}
    own = {word: at for at, word in enumerate(sorted(seen, key=lambda word: (-seen[word], word))[:MOST_BINS])}
    words = sorted({*seen, *(word for each in vocabularies if each is not None for word in each)})
    table = np.zeros((len(words) + 1, 2 + len(vocabularies)), np.int64)
    table[:, 0] = len(own)
    table[-1, 1] = 1 if seen else 0
    for at, word in enumerate(words):
        table[at, :2] = own.get(word, len(own)), bool(seen) and word not in seen
    for column, known in enumerate(vocabularies):
        if known is not None:
            table[:, 2 + column] = [*(word not in known for word in words), True]
    return {word: at for at, word in enumerate(words)}, table


def _text(value: str | float | bool) -> str:
    """The value as the serving writes slices: whole numbers without a decimal point, at most 128 characters."""
    if isinstance(value, str):
        return value[:128]
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() else repr(value)  # noqa: PLR0124  (NaN)
    return str(value).lower() if isinstance(value, bool) else str(value)
