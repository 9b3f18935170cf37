"""Rows of the logs as columns, and how they are read from msgpack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from serinus.archive_rows import entity_hash
from serinus.records import LabelRow

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]

ARMS = ("control", "canary", "stable", "shadow")
CONTROL, CANARY, SHADOW = 0, 1, 3
_MANY, _SPARE = 1_000_000, 10_000


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
        high, low = halves([row.id for row in rows])
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
        return (self.high >> np.uint64(16)).view(np.int64)

    def within(self, inside: Callable[[Ints], NDArray[np.bool_]]) -> Labels:
        """Those of predictions of event times (Unix ms) that are `inside`."""
        which = inside(self.event_ms)
        return self if which.all() else self.take(which)

    def take(self, which: NDArray[np.bool_]) -> Labels:
        return Labels(*(getattr(self, name)[which] for name in self.__dataclass_fields__))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Labels:
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names)) if parts else NO_LABELS


def halves(ids: Sequence[bytes]) -> tuple[Hashes, Hashes]:
    """Of request ids. Raises ValidationError at one that is not 16 bytes long."""
    if any(len(each) != 16 for each in ids):
        raise msgspec.ValidationError("an id is not 16 bytes long")
    both = np.frombuffer(b"".join(ids), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]


NO_LABELS = Labels.of([], Words())
