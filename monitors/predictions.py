"""Scores of the logs as columns: what a row's scores of several tasks have in common is kept once a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitors.columns import ARMS, SHADOW, Floats, Hashes, Ints, Words, entity_hashes, halves
from monitors.keys import numbered
from serinus.records import PredictionRow
from serinus.tasks import MAX_CLASSES

__all__ = ["Common", "Predictions", "shares_of_bytes"]

Mask = NDArray[np.bool_]
Shares = NDArray[np.float32]
NO_CLASSES = np.zeros(0, np.int64), np.zeros((0, 0), np.float32)


@dataclass(frozen=True, slots=True)
class Common:
    """One entry per row that has a score, all shape (m,) but `slices`, shape (m, number of slices), numbers of words.

    `arm`: place in ARMS; `rollout`: number of a word; `latency_us`: of the answer; `recorded`: share of the entities
    that were recorded then."""

    high: Hashes
    low: Hashes
    index: Ints
    arm: Ints
    entity: Hashes
    rollout: Ints
    slices: Ints
    latency_us: Ints
    recorded: Floats

    def __len__(self) -> int:
        return len(self.index)

    @property
    def event_ms(self) -> Ints:
        """Event time (Unix ms), from the id."""
        return (self.high >> np.uint64(16)).view(np.int64)

    @property
    def distinct(self) -> int:
        """How many there are, each once, however often it came."""
        return numbered(self.high, self.low, self.index)[0]

    def take(self, which: Mask | Ints) -> Common:
        return Common(*(getattr(self, name)[which] for name in BY_ROW))


@dataclass(frozen=True, slots=True)
class Predictions:
    """One entry per score (row x task), all shape (n,): `row`: its place in `common`, each of which has a score;
    `task`: number of a word; `failed`: a fallback stood in. `classes`: of a score of a multiclass task the row of
    `shares` that has its probabilities, else -1; empty where there are none at all; `shares`: float32, shape (k, most
    classes), NaN behind the last class of a row; k is not n.

    Columns of `common` can be had by score too, at the cost of a copy."""

    common: Common
    row: Ints
    task: Ints
    version: Ints
    value: Floats
    failed: Mask
    classes: Ints
    shares: Shares

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def of(cls, rows: Sequence[PredictionRow], words: Words, slices: Sequence[str]) -> Predictions:
        rows = [row for row in rows if row.scores]
        scores = [score for row in rows for score in row.scores]
        high, low = halves([row.id for row in rows])
        number = words.number
        common = Common(
            high,
            low,
            np.array([row.index for row in rows], np.int64),
            np.array([ARMS.index(row.arm) for row in rows], np.int64),
            entity_hashes([row.entity for row in rows]),
            np.array([number(row.rollout) for row in rows], np.int64),
            np.array([words.value(row.slices.get(s, "")) for row in rows for s in slices], np.int64).reshape(
                len(rows), len(slices)
            ),
            np.array([row.latency_us for row in rows], np.int64),
            np.array([row.share for row in rows], np.float64),
        )
        return cls(
            common,
            np.repeat(np.arange(len(rows)), np.array([len(row.scores) for row in rows], np.int64)),
            np.array([number(score.task) for score in scores], np.int64),
            np.array([score.version for score in scores], np.int64),
            np.array([score.value for score in scores], np.float64),
            np.array([bool(score.fallback) for score in scores], np.bool_),
            *shares_of_bytes([score.classes for score in scores]),
        )

    @property
    def high(self) -> Hashes:
        return self.common.high[self.row]

    @property
    def low(self) -> Hashes:
        return self.common.low[self.row]

    @property
    def index(self) -> Ints:
        return self.common.index[self.row]

    @property
    def arm(self) -> Ints:
        return self.common.arm[self.row]

    @property
    def entity(self) -> Hashes:
        return self.common.entity[self.row]

    @property
    def rollout(self) -> Ints:
        return self.common.rollout[self.row]

    @property
    def slices(self) -> Ints:
        return self.common.slices[self.row]

    @property
    def latency_us(self) -> Ints:
        return self.common.latency_us[self.row]

    @property
    def recorded(self) -> Floats:
        return self.common.recorded[self.row]

    @property
    def event_ms(self) -> Ints:
        """Event time (Unix ms), from the id."""
        return self.common.event_ms[self.row]

    def shares_of(self, at: Ints) -> Shares:
        """The probabilities of these scores' classes, shape (len(at), most classes); NaN where there are none."""
        if not len(self.shares):
            return np.full((len(at), self.shares.shape[1]), np.nan, np.float32)
        none = np.full((1, self.shares.shape[1]), np.nan, np.float32)
        return np.concatenate([self.shares, none])[self.classes[at]]

    @property
    def answers(self) -> int:
        """How many rows were answered: each once, however many tasks it has and often it came; no shadow answers."""
        return self.common.take(self.common.arm != SHADOW).distinct

    def take(self, which: Mask | Ints) -> Predictions:
        """Scores by a mask, or by place."""
        if which.dtype == np.bool_ and which.all():
            return self
        row, common = self.row[which], self.common
        kept = np.zeros(len(common), np.bool_)
        kept[row] = True
        if not kept.all():
            common, row = common.take(kept), (np.cumsum(kept) - 1)[row]
        return self._scores(common, row, which)

    def take_rows(self, which: Mask) -> Predictions:
        """All scores of the rows that a mask of `common` names."""
        if which.all():
            return self
        scores = which[self.row]
        return self._scores(self.common.take(which), (np.cumsum(which) - 1)[self.row[scores]], scores)

    def within(self, inside: Callable[[Ints], Mask]) -> Predictions:
        """Those of event times (Unix ms) that are `inside`."""
        return self.take_rows(inside(self.common.event_ms))

    def changed(self, **columns: NDArray[Any]) -> Predictions:
        """With other columns, each by score (n,)."""
        flat = self
        if columns.keys() & set(BY_ROW):
            flat = replace(self, common=self.common.take(self.row), row=np.arange(len(self)))
        parts: dict[str, Any] = dict(columns)
        common = {name: parts.pop(name) for name in BY_ROW if name in parts}
        return replace(flat, common=replace(flat.common, **common), **parts)

    @classmethod
    def concat(cls, parts: Sequence[Self], slices: int = 0) -> Predictions:
        if not parts:
            return cls.of([], Words(), [""] * slices)
        if len(parts) == 1:
            return parts[0]
        commons = [part.common for part in parts]
        common = Common(*(np.concatenate([getattr(each, name) for each in commons]) for name in BY_ROW))
        task, version, value, failed = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("task", "version", "value", "failed")
        )
        before = np.cumsum([0, *(len(each) for each in commons)])
        row = np.concatenate([part.row + at for part, at in zip(parts, before[:-1].tolist(), strict=True)])
        return cls(common, row, task, version, value, failed, *_join_shares(parts))

    def _scores(self, common: Common, row: Ints, which: Mask | Ints) -> Predictions:
        classes = self.classes[which] if len(self.classes) else self.classes
        plain = (self.task[which], self.version[which], self.value[which], self.failed[which])
        return Predictions(common, row, *plain, classes, self.shares)


BY_ROW = tuple(each.name for each in fields(Common))


def shares_of_bytes(packed: Sequence[bytes]) -> tuple[Ints, Shares]:
    """(`classes`, `shares`) of `Predictions`, from the scores' bytes; what cannot be such bytes counts as none."""
    sizes = np.array([len(each) for each in packed], np.int64)
    sizes = np.where((sizes % 4 == 0) & (sizes <= 4 * MAX_CLASSES), sizes // 4, 0)
    have = np.flatnonzero(sizes)
    if not len(have):
        return NO_CLASSES
    shares = np.full((len(have), int(sizes.max(initial=0))), np.nan, np.float32)
    for size in np.unique(sizes[have]).tolist():
        rows = np.flatnonzero(sizes[have] == size)
        shares[rows, :size] = np.frombuffer(b"".join(packed[at] for at in have[rows]), "<f4").reshape(-1, size)
    classes = np.full(len(sizes), -1, np.int64)
    classes[have] = np.arange(len(have))
    return classes, shares


def _join_shares(parts: Sequence[Predictions]) -> tuple[Ints, Shares]:
    """Of several parts, without rows of `shares` that nothing names any longer."""
    if not any(len(part.shares) for part in parts):
        return NO_CLASSES
    classes = np.concatenate(
        [part.classes if len(part.classes) else np.full(len(part), -1, np.int64) for part in parts]
    )
    have = np.flatnonzero(classes >= 0)
    width = max(part.shares.shape[1] for part in parts) if len(have) else 0
    joined = np.full((len(have), width), np.nan, np.float32)
    at = 0
    for part in parts:
        mine = part.shares[part.classes[part.classes >= 0]]
        joined[at : at + len(mine), : mine.shape[1]] = mine
        at += len(mine)
    classes[have] = np.arange(len(have))
    return (classes, joined) if len(have) else NO_CLASSES
