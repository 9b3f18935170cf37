"""One rollout's rows of a due window, numbered by key, and which of them stand against which. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitors.columns import CANARY, CONTROL, Labels, Words
from monitors.keys import first_of_each, numbered
from monitors.losses import NONE, judged
from monitors.predictions import Predictions
from monitors.rows import Scored
from monitors.slices import places_of
from serinus.evidence import WorkItem
from serinus.tasks import TaskKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Pair = tuple[Ints, Ints]


@dataclass(slots=True)
class Prepared:
    """`rows`: of the rollout; `key`: the number of each one's key, `label_key`: of each label's; `keys`: how many there
    are; `answered`: keys that have a prediction, of whatever rollout, shape (keys,)."""

    item: WorkItem
    rows: Predictions
    words: Words
    keys: int
    key: Ints
    label_key: Ints
    answered: Mask
    _places: Ints | None = None
    _event_ms: Ints | None = None
    _compared: bool | None = None

    @classmethod
    def of(cls, item: WorkItem, predictions: Predictions, labels: Labels, words: Words) -> Prepared:
        names = ("high", "low", "index")
        common = predictions.common
        columns = [np.concatenate([getattr(common, name), getattr(labels, name)]) for name in names]
        keys, number = numbered(columns[0], columns[1], columns[2])
        of_row, of_label = number[: len(common)], number[len(common) :]
        answered = np.zeros(keys, np.bool_)
        answered[of_row] = True
        mine = common.rollout == words.known(item.rollout)
        predictions, of_row = predictions.take_rows(mine), of_row[mine]
        return cls(item, predictions, words, keys, of_row[predictions.row], of_label, answered)

    def of_task(self, task: str) -> Ints:
        return np.flatnonzero(self.rows.task == self.words.known(task))

    def paired(self, at: Ints) -> Pair:
        """Of rows `at`, the keys that both versions scored, whichever arm they came by: a row of each version."""
        rows = self.rows
        at = at[np.isfinite(rows.value[at]) & ~rows.failed[at]]
        versions = (self.item.baseline, self.item.candidate)
        a, b = (self._chosen(at[rows.version[at] == version]) for version in versions)
        both = (a >= 0) & (b >= 0)
        return a[both], b[both]

    def arms(self, at: Ints) -> Pair:
        """Of rows `at`, control and canary, with whatever answered: by the intention to treat."""
        at = self.meant(at)
        at = at[np.isfinite(self.rows.value[at])]
        if not len(at):
            return at, at
        chosen = self.one_of_each(at)
        canary = self.rows.common.arm[self.rows.row[chosen]] == CANARY
        return chosen[~canary], chosen[canary]

    def meant(self, at: Ints) -> Ints:
        """Those of rows `at` that the canary or the control arm was to answer, by the version that was meant to."""
        if self._compared is None:
            arm = self.rows.common.arm
            self._compared = bool(((arm == CONTROL) | (arm == CANARY)).any())
        if not self._compared:  # no share of the traffic is: as long as there are shadow copies alone
            return at[:0]
        arm, version = self.rows.common.arm[self.rows.row[at]], self.rows.version[at]
        control = (arm == CONTROL) & (version == self.item.baseline)
        return np.asarray(at[control | ((arm == CANARY) & (version == self.item.candidate))])

    def one_of_each(self, at: Ints) -> Ints:
        """One of rows `at` for each key, in the order of the keys."""
        chosen = self._chosen(at)
        return chosen[chosen >= 0]

    def sides(self, kind: TaskKind, pair: Pair, label: Floats, *, paired: bool) -> tuple[tuple[Scored, Scored], int]:
        """Both sides with their labels (by key), without the rows whose label is a class that the model lacks (where
        `paired`: one of the models); and how many rows that were."""
        a, b = (self._scored(kind, side, label[self.key[side]]) for side in pair)
        fine_a, fine_b = np.isfinite(a.p), np.isfinite(b.p)
        if paired:
            fine_a = fine_b = fine_a & fine_b
        lacking = int((~fine_a).sum()) + (0 if paired else int((~fine_b).sum()))
        return ((a.take(fine_a), b.take(fine_b)) if lacking else (a, b)), lacking

    def event_ms(self, at: Ints) -> Ints:
        """Event times (Unix ms) of rows `at`."""
        if self._event_ms is None:
            self._event_ms = self.rows.common.event_ms
        return self._event_ms[self.rows.row[at]]

    def places(self, at: Ints) -> Ints:
        """The place of rows `at` in each slice of the SLA, shape (len(at), slices)."""
        if self._places is None:
            common = self.rows.common
            self._places = places_of(common.slices, common.entity, self.item.sla, self.words)
        return np.take(self._places, self.rows.row[at], axis=0)

    def _chosen(self, at: Ints) -> Ints:
        """One of rows `at` for each key, shape (keys,), -1 where there is none; which one, its content says."""
        rows = self.rows

        def content(some: Ints) -> list[NDArray[Any]]:
            which = at[some]
            row, common = rows.row[which], rows.common
            plain = (common.arm[row], rows.failed[which], rows.value[which], common.entity[row])
            return [*plain, *common.slices[row].T, *rows.shares_of(which).T]

        found = first_of_each(self.keys, self.key[at], content)
        return np.where(found >= 0, at[found], -1) if len(at) else found

    def _scored(self, kind: TaskKind, at: Ints, label: Floats) -> Scored:
        rows = self.rows
        shares = rows.shares_of(at) if kind == "multiclass" else NONE
        y, p, loss = judged(kind, label, rows.value[at], shares)
        return Scored(self.event_ms(at), rows.common.entity[rows.row[at]], y, p, self.places(at), loss)
