"""How far the labels of each task of a rollout were looked at: some wait for a source that is silent, and catch up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from monitors.late import LateLabels, Reads, State
from monitors.ticks import Reach
from serinus.evidence import WorkItem

MOST_TICKS = 24
"""Ticks of labels that a task takes in at one look when it catches up."""


@dataclass(slots=True)
class Maturity:
    """`reached`: task -> tick up to which its rows were judged; `late`: labels that came after that."""

    reached: dict[str, int]
    late: LateLabels

    @classmethod
    def begin(cls, item: WorkItem, start_ms: int) -> Maturity:
        """Before the first look, whose tick follows `start_ms`."""
        return cls(dict.fromkeys(item.sla.tasks, start_ms), LateLabels(item, start_ms))

    def reach(self, tick_ms: int, held: Mapping[str, int]) -> Reach:
        """Of every task, which rows are to be judged at a tick. `held`: task -> event time beyond which its labels are
        not complete."""
        step = self.late.item.sla.tick_s * 1000
        found = {}
        for task, start_ms in self.reached.items():
            end_ms = min(tick_ms, held.get(task, tick_ms) // step * step, start_ms + MOST_TICKS * step)
            found[task] = start_ms, max(start_ms, end_ms)
        return found

    def take(self, reach: Reach, seen: Mapping[tuple[str, int], int]) -> None:
        """The rows of that reach were judged, by these labels (`Tick.labels_seen`)."""
        self.reached = {task: end_ms for task, (_, end_ms) in reach.items()}
        self.late.seen.update(seen)

    def look(self, reader: Reads, previous_ms: int, tick_ms: int) -> dict[str, int]:
        """What late labels add to the counts at a tick, after `take`."""
        return self.late.look(reader, previous_ms, tick_ms, self.reached)

    def state(self) -> State:
        reached = np.array([*self.reached.values(), self.late.start_ms], np.int64)
        return {"reached": reached, **self.late.state()}

    @classmethod
    def of_state(cls, item: WorkItem, state: State) -> Maturity:
        """Raises KeyError, IndexError or ValueError when it is damaged, or of other tasks."""
        *ticks, start_ms = state["reached"].tolist()
        return cls(dict(zip(item.sla.tasks, ticks, strict=True)), LateLabels.of_state(item, start_ms, state))
