"""Rows of the logs as columns, and how they are read from msgpack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitors.keys import numbered
from serinus.records import LabelRow, PredictionRow
from serinus.tasks import MAX_CLASSES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

ARMS = ("control", "canary", "stable", "shadow")
CONTROL, CANARY, SHADOW = 0, 1, 3
_MANY, _SPARE = 1_000_000, 10_000


def entity_hash(entity: str) -> int:
    """64 bits that group entities for the jackknife, independent of how the serving assigns them to arms."""
    return int.from_bytes(blake2b(entity.encode(), digest_size=8, person=b"serinus-groups").digest(), "big")


_hashed: dict[str, int] = {}
_REMEMBERED = 400_000


def entity_hashes(entities: Sequence[str]) -> Hashes:
    """Of each of them; those that came before are remembered: hashing costs as much as all else that a row needs."""
    found = list(map(_hashed.get, entities))
    if None in found:
        if len(_hashed) > _REMEMBERED:
            _hashed.clear()
        _hashed.update(
            (entity, entity_hash(entity)) for entity, known in zip(entities, found, strict=True) if known is None
        )
        found = [_hashed[entity] if known is None else known for entity, known in zip(entities, found, strict=True)]
    return np.array(found, np.uint64)


@dataclass(slots=True)
class Words:
    """Numbers for the words of one model's logs (tasks, rollouts, values of slices): equal words, equal numbers."""

    numbers: dict[str, int] = field(default_factory=dict)
    limit: int = _MANY

    def number(self, word: str) -> int:
        """The word's number; -1 when there are too many words already."""
        known = self.numbers.get(word)
        if known is None:
            known = len(self.numbers) if len(self.numbers) < self.limit else -1
            if known >= 0:
                self.numbers[word] = known
        return known

    def value(self, word: str) -> int:
        """The same for the value of a slice, of which there may be any number: room is left for other words."""
        if word not in self.numbers and len(self.numbers) >= self.limit - min(_SPARE, self.limit // 2):
            return -1
        return self.number(word)

    def known(self, word: str) -> int:
        """The word's number if it was met, else -2, which no row has."""
        return self.numbers.get(word, -2)


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels, all shape (n,): halves of the id, index, number of the task's word, value, when it became known."""

    high: Hashes
    low: Hashes
    index: Ints
    task: Ints
    value: Floats
    known_ms: Ints

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, rows: Sequence[LabelRow], words: Words) -> Labels:
        high, low = _halves([row.id for row in rows])
        return cls(
            high,
            low,
            np.array([row.index for row in rows], np.int64),
            np.array([words.number(row.task) for row in rows], np.int64),
            np.array([row.value for row in rows], np.float64),
            np.array([row.known_ms for row in rows], np.int64),
        )

    @property
    def event_ms(self) -> Ints:
        """Event time of the predictions that they label (Unix ms)."""
        return (self.high >> np.uint64(16)).astype(np.int64)

    def take(self, which: NDArray[np.bool_]) -> Labels:
        return Labels(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Labels:
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names)) if parts else NO_LABELS


@dataclass(frozen=True, slots=True)
class Predictions:
    """One entry per score (row x task), all shape (n,) but `slices`, shape (n, number of slices), numbers of words.

    `arm`: place in ARMS; `rollout`, `task`: numbers of words; `failed`: a fallback stood in. `classes`: of a score of a
    multiclass task the row of `shares` that has its probabilities, else -1; `shares`: float32, shape (m, most classes),
    NaN behind the last class of a row; m is not n. `latency_us`: of the answer; `recorded`: share of the entities that
    were recorded then."""

    high: Hashes
    low: Hashes
    index: Ints
    arm: Ints
    entity: Hashes
    rollout: Ints
    task: Ints
    version: Ints
    value: Floats
    failed: NDArray[np.bool_]
    slices: Ints
    latency_us: Ints
    recorded: Floats
    classes: Ints
    shares: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def of(cls, rows: Sequence[PredictionRow], words: Words, slices: Sequence[str]) -> Predictions:
        number = words.number
        times = np.array([len(row.scores) for row in rows], np.int64)
        per_row = np.array(
            [
                (
                    row.index,
                    ARMS.index(row.arm),
                    number(row.rollout),
                    row.latency_us,
                    *(words.value(row.slices.get(s, "")) for s in slices),
                )
                for row in rows
            ],
            np.int64,
        ).reshape(len(rows), 4 + len(slices))
        high, low = _halves([row.id for row in rows])
        hashes = entity_hashes([row.entity for row in rows])
        scores = [score for row in rows for score in row.scores]
        spread = np.repeat(per_row, times, axis=0)
        return cls(
            np.repeat(high, times),
            np.repeat(low, times),
            spread[:, 0],
            spread[:, 1],
            np.repeat(hashes, times),
            spread[:, 2],
            np.array([number(score.task) for score in scores], np.int64),
            np.array([score.version for score in scores], np.int64),
            np.array([score.value for score in scores], np.float64),
            np.array([bool(score.fallback) for score in scores], np.bool_),
            spread[:, 4:],
            spread[:, 3],
            np.repeat(np.array([row.share for row in rows], np.float64), times),
            *shares_of_bytes([score.classes for score in scores]),
        )

    @property
    def event_ms(self) -> Ints:
        """Event time (Unix ms), from the id."""
        return (self.high >> np.uint64(16)).astype(np.int64)

    def shares_of(self, at: Ints) -> NDArray[np.float32]:
        """The probabilities of these scores' classes, shape (len(at), most classes); NaN where there are none."""
        none = np.full((1, self.shares.shape[1]), np.nan, np.float32)
        return np.concatenate([self.shares, none])[self.classes[at]]

    @property
    def answers(self) -> int:
        """How many rows were answered: each once, however many tasks it has and often it came; no shadow answers."""
        mine = self.arm != SHADOW
        return numbered(self.high[mine], self.low[mine], self.index[mine])[0]

    def take(self, which: NDArray[np.bool_] | Ints) -> Predictions:
        if which.dtype == np.bool_ and which.all():
            return self
        return Predictions(**{name: getattr(self, name)[which] for name in _BY_SCORE}, shares=self.shares)

    @classmethod
    def concat(cls, parts: Sequence[Self], slices: int = 0) -> Predictions:
        if not parts:
            return cls.of([], Words(), [""] * slices)
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _BY_SCORE}
        joined["classes"], shares = _join_shares([(part.classes, part.shares) for part in parts])
        return cls(**joined, shares=shares)


_BY_SCORE = tuple(name for name in Predictions.__dataclass_fields__ if name != "shares")


def shares_of_bytes(packed: Sequence[bytes]) -> tuple[Ints, NDArray[np.float32]]:
    """(`classes`, `shares`) of `Predictions`, from the rows' bytes; what cannot be such bytes counts as none."""
    sizes = np.array([len(each) for each in packed], np.int64)
    sizes = np.where((sizes % 4 == 0) & (sizes <= 4 * MAX_CLASSES), sizes // 4, 0)
    have = np.flatnonzero(sizes)
    shares = np.full((len(have), int(sizes.max(initial=0))), np.nan, np.float32)
    for size in np.unique(sizes[have]).tolist():
        rows = np.flatnonzero(sizes[have] == size)
        shares[rows, :size] = np.frombuffer(b"".join(packed[at] for at in have[rows]), "<f4").reshape(-1, size)
    classes = np.full(len(sizes), -1, np.int64)
    classes[have] = np.arange(len(have))
    return classes, shares


def _join_shares(parts: Sequence[tuple[Ints, NDArray[np.float32]]]) -> tuple[Ints, NDArray[np.float32]]:
    """Of several parts, without rows of `shares` that nothing names any longer."""
    classes = np.concatenate([classes for classes, _ in parts])
    have = np.flatnonzero(classes >= 0)
    width = max(shares.shape[1] for _, shares in parts) if len(have) else 0
    joined = np.full((len(have), width), np.nan, np.float32)
    at = 0
    for numbers, shares in parts:
        mine = shares[numbers[numbers >= 0]]
        joined[at : at + len(mine), : mine.shape[1]] = mine
        at += len(mine)
    classes[have] = np.arange(len(have))
    return classes, joined


def _halves(ids: Sequence[bytes]) -> tuple[Hashes, Hashes]:
    if any(len(each) != 16 for each in ids):
        raise msgspec.ValidationError("an id is not 16 bytes long")
    both = np.frombuffer(b"".join(ids), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]


NO_LABELS = Labels.of([], Words())
