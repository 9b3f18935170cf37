"""What passes between the join and the cells: the mature rows of one tick, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from serinus.evidence import InputEvidence, Stream

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Scored:
    """Labelled rows of one side. All but the last of shape (n,): event time (Unix ms), salted hash of the entity,
    label in {0., 1.}, probability; `slices`: place of the row's value in the SLA's list, -1 when it is not there,
    shape (n, number of slices).

    Of other kinds of tasks `loss` is there too, else it is empty: squared error or log-loss of each row. Regression:
    y: the value, p: what was predicted. Multiclass: y: 1. where the likeliest class was right, p: the true class's
    probability (`monitors.losses`)."""

    event_ms: Ints
    entity: Hashes
    y: Floats
    p: Floats
    slices: Ints
    loss: Floats = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, which: NDArray[np.bool_] | Ints) -> Scored:
        loss = self.loss[which] if len(self.loss) else self.loss
        return Scored(self.event_ms[which], self.entity[which], self.y[which], self.p[which], self.slices[which], loss)

    @classmethod
    def empty(cls, slices: int = 0) -> Scored:
        none = np.zeros(0, np.int64)
        return cls(none, np.zeros(0, np.uint64), np.zeros(0), np.zeros(0), np.zeros((0, slices), np.int64))

    @classmethod
    def concat(cls, parts: list[Scored], slices: int = 0) -> Scored:
        if not parts:
            return cls.empty(slices)
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.event_ms for part in parts]),
            np.concatenate([part.entity for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.p for part in parts]),
            np.concatenate([part.slices for part in parts]),
            np.concatenate([part.loss for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Exposed:
    """Answers of one task in the two arms that are compared, with or without a label. All of shape (n,) but `slices`.

    `minute`: event time in whole minutes; `canary`: False for the control; `failed`: something stood in, or what came
    is no number; `slow`: it took longer than the SLA's `latency_ms`; empty where the SLA has none."""

    entity: Hashes
    minute: Ints
    canary: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    slices: Ints
    slow: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True)
class Tick:
    """Everything that enters the cells of one rollout at one tick of event time.

    `streams`: (stream, task) -> rows of the baseline, rows of the candidate (the same rows in `shadow`);
    `exposed`: task -> answers; `counts`: rows by what became of them; `first_event_ms`: of the rows in it."""

    tick_ms: int
    streams: dict[tuple[Stream, str], tuple[Scored, Scored]]
    exposed: dict[str, Exposed] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    first_event_ms: int | None = None
    corrupt: tuple[str, ...] = ()
    """Files that were read for it and are broken."""
    early: dict[tuple[Stream, str], tuple[Scored, Scored]] = field(default_factory=dict)
    """As `streams`, with the labels known within the task's `early_window_s`: each row once, at that age."""
    unlabelled: dict[tuple[Stream, str], tuple[Scored, Scored]] = field(default_factory=dict)
    """As `streams`, of all rows at the moment of their answer: y is NaN."""
    inputs: tuple[InputEvidence, ...] = ()
    """What the checks of the raw inputs say now."""
    labels_seen: dict[tuple[str, int], int] = field(default_factory=dict)
    """(task, hour of event time) -> distinct labels that were there when its rows became mature."""
    holds: tuple[str, ...] = ()
    """What else stops the ramp now, in words: label sources that are silent."""
