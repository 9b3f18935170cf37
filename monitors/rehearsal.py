"""Logs of the past, dressed up as a rollout: the join and the cells then do with them what they always do.

Rows change only by what they are (id, task, entity, a seed), so any order and any cut of reading gives the same.
`twin`: stable against itself; both versions get noise of the same size, so neither is better.
`swap`: where two versions scored the same requests, a coin for each day says which one is called the candidate.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from monitors.columns import ARMS, CANARY, CONTROL, SHADOW, Words
from monitors.log import LogReader
from monitors.predictions import Predictions

__all__ = ["BASELINE", "CANDIDATE", "ROLLOUT", "Cast", "Damage", "Past", "Rehearsal"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

ROLLOUT = "rehearsal"
BASELINE, CANDIDATE = 1, 2
STABLE = ARMS.index("stable")
DAY_MS = 86_400_000
_BUCKETS = 10_000
_LEAST_P = 1e-7


@dataclass(frozen=True, slots=True)
class Past:
    """A rollout of the past, whose two versions scored the same requests."""

    id: str
    baseline: int
    candidate: int


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with the candidate, for one task (None: all) and one value of a slice (None: everybody).

    `share` of its scores are drawn from `pool` instead, whatever the request; probabilities are multiplied by `scale`;
    values of a regression get noise of standard deviation `spread`; `failed`: share of the canary's answers; `turned`:
    share of a multiclass task's scores whose probabilities move on by one class."""

    task: str | None = None
    where: tuple[str, str] | None = None
    share: float = 0.0
    pool: Floats = field(default_factory=lambda: np.zeros(0))
    scale: float = 1.0
    spread: float = 0.0
    failed: float = 0.0
    turned: float = 0.0


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays what. `noise`: task -> standard deviation, on the logit of `binary` tasks, else on the value.

    `canary_bp`: share of the entities in the canary, and as many in the control."""

    seed: int = 0
    mode: Literal["twin", "swap"] = "twin"
    canary_bp: int = 0
    noise: Mapping[str, float] = field(default_factory=dict)
    binary: frozenset[str] = frozenset()
    pasts: tuple[Past, ...] = ()
    damages: tuple[Damage, ...] = ()

    def play(self, rows: Predictions, words: Words, slices: Sequence[str]) -> Predictions:
        """The rows as those of `ROLLOUT`, versions BASELINE and CANDIDATE."""
        return self._swap(rows, words) if self.mode == "swap" else self._twin(rows, words, slices)

    def _twin(self, rows: Predictions, words: Words, slices: Sequence[str]) -> Predictions:
        rows = rows.take((rows.arm == STABLE) | (rows.arm == CONTROL))
        rollout = np.full(len(rows), words.number(ROLLOUT), np.int64)
        bucket = _mixed(rows.entity, self.seed, 1) % np.uint64(_BUCKETS)
        canary, control = bucket < self.canary_bp, bucket >= _BUCKETS - self.canary_bp
        a = rows.changed(
            rollout=rollout,
            version=np.full(len(rows), BASELINE, np.int64),
            arm=np.where(canary, SHADOW, np.where(control, CONTROL, STABLE)),
            value=self._noisy(rows, words, 2),
        )
        b = rows.changed(
            rollout=rollout,
            version=np.full(len(rows), CANDIDATE, np.int64),
            arm=np.where(canary, CANARY, SHADOW),
            value=self._noisy(rows, words, 3),
        )
        for number, damage in enumerate(self.damages):
            b = self._damaged(b, damage, words, slices, number)
        return Predictions.concat([a, b], rows.slices.shape[1])

    def _swap(self, rows: Predictions, words: Words) -> Predictions:
        baseline, candidate = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        for past in self.pasts:
            mine = rows.rollout == words.known(past.id)
            baseline |= mine & (rows.version == past.baseline)
            candidate |= mine & (rows.version == past.candidate)
        both = baseline | candidate
        rows, candidate = rows.take(both), candidate[both]
        day = (rows.event_ms // DAY_MS).astype(np.uint64)
        heads = (_mixed(day, self.seed, 4) & np.uint64(1)).astype(np.bool_)
        swapped = np.select([rows.arm == CANARY, rows.arm == CONTROL], [CONTROL, CANARY], rows.arm)
        return rows.changed(
            rollout=np.full(len(rows), words.number(ROLLOUT), np.int64),
            version=np.where(candidate ^ heads, CANDIDATE, BASELINE),
            arm=np.where(heads, swapped, rows.arm),
        )

    def _noisy(self, rows: Predictions, words: Words, stream: int) -> Floats:
        """Scores with noise: that of one row, task and stream is always the same."""
        value = rows.value.astype(np.float64)
        for task, size in self.noise.items():
            mine = np.flatnonzero(rows.task == words.known(task))
            if not size or not len(mine):
                continue
            more = size * ndtri(_uniform(rows.take(mine), self.seed, stream, task))
            if task in self.binary:
                value[mine] = expit(logit(np.clip(value[mine], _LEAST_P, 1 - _LEAST_P)) + more)
            else:
                value[mine] += more
        return value

    def _damaged(self, rows: Predictions, damage: Damage, words: Words, slices: Sequence[str], at: int) -> Predictions:
        hit = np.ones(len(rows), np.bool_) if damage.task is None else rows.task == words.known(damage.task)
        if damage.where is not None:
            column, word = damage.where
            hit &= rows.slices[:, list(slices).index(column)] == words.known(word)
        salt = f"damage {at}"
        value, failed = rows.value.copy(), rows.failed.copy()
        if damage.share and len(damage.pool):
            lost = np.flatnonzero(hit & (_uniform(rows, self.seed, 5, salt) < damage.share))
            drawn = _uniform(rows.take(lost), self.seed, 6, salt)
            value[lost] = damage.pool[(drawn * len(damage.pool)).astype(np.int64)]
        if damage.scale != 1.0:
            value[hit] = np.clip(value[hit] * damage.scale, 0.0, 1.0)
        if damage.spread:
            value[hit] += damage.spread * ndtri(_uniform(rows.take(hit), self.seed, 7, salt))
        if damage.failed:
            failed |= hit & (rows.arm == CANARY) & (_uniform(rows, self.seed, 8, salt) < damage.failed)
        rows = rows.changed(value=value, failed=failed)
        if damage.turned and len(rows.classes):
            chosen = hit & (rows.classes >= 0) & (_uniform(rows, self.seed, 10, salt) < damage.turned)
            return _turned(rows, np.flatnonzero(chosen))
        return rows


class Rehearsal(LogReader):
    """A reader whose predictions are dressed up; all else, and what was read already, is that of `real`.

    `since_ms`: event time at which the rollout begins; None: there is no earlier row to be left out."""

    def __init__(self, real: LogReader, cast: Cast, since_ms: int | None = None) -> None:
        self.__dict__.update(real.__dict__)
        self.cast, self.since_ms = cast, since_ms

    def predictions(self, start_ms: int, end_ms: int) -> tuple[Predictions, tuple[str, ...]]:
        if self.since_ms is not None and end_ms <= self.since_ms:
            return Predictions.concat([], len(self.slices)), ()
        rows, broken = super().predictions(max(start_ms, self.since_ms or start_ms), end_ms)
        return self.cast.play(rows, self.words, self.slices), broken


def _turned(rows: Predictions, at: Ints) -> Predictions:
    """The same with each probability of these scores given to the next class, the last one's to the first."""
    shares = rows.shares_of(at)
    counts = np.isfinite(shares).sum(axis=1, keepdims=True)
    places = np.arange(shares.shape[1])
    moved = np.take_along_axis(shares, (places - 1) % np.maximum(counts, 1), axis=1)
    classes = rows.classes.copy()
    classes[at] = len(rows.shares) + np.arange(len(at))
    return rows.changed(classes=classes, shares=np.concatenate([rows.shares, np.where(places < counts, moved, np.nan)]))


def _uniform(rows: Predictions, seed: int, stream: int, word: str) -> Floats:
    """A number in (0, 1) for each row, by its id and index."""
    salt = zlib.crc32(word.encode())
    mixed = _mixed(rows.high ^ _mixed(rows.low, salt, 9), seed, stream) ^ rows.index.astype(np.uint64)
    return np.asarray((_mixed(mixed, seed, stream) >> np.uint64(11)).astype(np.float64) / 2.0**53 + 2.0**-54)


def _mixed(bits: Hashes, seed: int, stream: int) -> Hashes:
    """splitmix64 (Steele, Lea and Flood 2014) of each, salted."""
    with np.errstate(over="ignore"):
        z = bits.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (1 + seed * 16 + stream)) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
