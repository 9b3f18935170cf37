"""Labels that come after their row was judged: none is used, each is counted, by task.

late            known only after its window was over, however long after
after maturity  known in time by its own account, but not in the log when it should have been: its source had said
                that it had sent everything

Hours of labels are read again where their files changed: those of the last day at every hour of event time, older ones
once a day. What is counted is what lies in the log at that moment, each label once, and not what came since the last
reading: so it makes no difference how often, or in which portions, they are read.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from monitors.columns import Labels, Words
from monitors.outcomes import HOUR_MS, Outcomes, matures_ms
from monitors.predictions import Predictions
from monitors.prepared import Prepared
from serinus.evidence import WorkItem
from serinus.records import hour_of, log_folder

DAY_MS = 24 * HOUR_MS
State = dict[str, NDArray[np.generic]]
Place = tuple[str, int]
"""Task, hour of event time (Unix ms // 3,600,000)."""


class Reads(Protocol):
    """What of `LogReader` is needed."""

    root: Path
    words: Words

    def labels(self, start_ms: int, end_ms: int) -> tuple[Labels, tuple[str, ...]]: ...


@dataclass(slots=True)
class LateLabels:
    """`start_ms`: the tick that the first look began at; `seen`: labels that were there when rows were judged; `after`,
    `late`: what was found besides; `files`: hour -> what its files looked like when it was read."""

    item: WorkItem
    start_ms: int
    seen: Counter[Place] = field(default_factory=Counter)
    after: Counter[Place] = field(default_factory=Counter)
    late: Counter[Place] = field(default_factory=Counter)
    files: dict[int, int] = field(default_factory=dict)

    def look(self, reader: Reads, previous_ms: int, tick_ms: int, reached: dict[str, int]) -> dict[str, int]:
        """What to add to the counts at a tick. `reached`: task -> tick up to which its rows were judged."""
        hour = tick_ms // HOUR_MS
        if hour == previous_ms // HOUR_MS:
            return {}
        wait_ms = {task: self.item.sla.horizon_s(task) * 1000 for task in self.item.sla.tasks}
        oldest = (self.start_ms - max(wait_ms.values())) // HOUR_MS
        first = oldest if tick_ms // DAY_MS > previous_ms // DAY_MS else max(oldest, hour - 24)
        counts: Counter[str] = Counter()
        for at in range(first, hour):
            whole = [task for task, wait in wait_ms.items() if (at + 1) * HOUR_MS <= reached[task] - wait]
            files = _files(log_folder(reader.root, "labels", self.item.model, hour_of(at * HOUR_MS)), whole)
            if whole and files is not None and self.files.get(at) != files:
                found, more = self._read(reader, at, whole, tick_ms)
                counts += found
                if not more:
                    self.files[at] = files
        return dict(counts)

    def state(self) -> State:
        tasks = list(self.item.sla.tasks)
        places = sorted({*self.seen, *self.after, *self.late})
        rows = [(tasks.index(p[0]), p[1], self.seen[p], self.after[p], self.late[p]) for p in places]
        files = sorted(self.files.items())
        return {
            "places": np.array(rows, np.int64).reshape(-1, 5),
            "files": np.array(files, np.int64).reshape(-1, 2),
        }

    @classmethod
    def of_state(cls, item: WorkItem, start_ms: int, state: State) -> LateLabels:
        """Raises KeyError or IndexError when it is damaged."""
        made, tasks = cls(item, start_ms), list(item.sla.tasks)
        for task, hour, *numbers in state["places"].tolist():
            for counter, number in zip((made.seen, made.after, made.late), numbers, strict=True):
                if number:
                    counter[tasks[task], hour] = number
        made.files = dict(state["files"].tolist())
        return made

    def _read(self, reader: Reads, hour: int, tasks: list[str], tick_ms: int) -> tuple[Counter[str], bool]:
        """What to add, and whether there are labels that become known only after the tick."""
        labels, _ = reader.labels(hour * HOUR_MS, (hour + 1) * HOUR_MS)
        counts: Counter[str] = Counter()
        outcomes = _outcomes(self.item, labels, reader.words)
        for task in tasks:
            place = (task, hour)
            lowest = self.start_ms - self.item.sla.horizon_s(task) * 1000
            mine = np.flatnonzero((labels.task == reader.words.known(task)) & (labels.event_ms >= lowest))
            mine = mine[outcomes.fresh(mine)]
            judged = labels.known_ms[mine] < matures_ms(self.item.sla, task, labels.event_ms[mine])
            after = max(self.after[place], int(judged.sum()) - self.seen[place])
            late = max(self.late[place], int((~judged & (labels.known_ms[mine] < tick_ms)).sum()))
            counts[f"labels_after_maturity:{task}"] += after - self.after[place]
            for name in ("labels_late", f"labels_late:{task}"):
                counts[name] += late - self.late[place]
            self.after[place], self.late[place] = after, late
        return +counts, bool((labels.known_ms >= tick_ms).any())


def seen_labels(item: WorkItem, reader: Reads, reach: Mapping[str, tuple[int, int]]) -> dict[Place, int]:
    """`Tick.labels_seen` of a tick, by its labels alone. `reach`: of every task, see `monitors.ticks`."""
    seen: dict[Place, int] = {}
    for task, (start_ms, end_ms) in reach.items():
        wait_ms, window_s = item.sla.horizon_s(task) * 1000, item.sla.tasks[task].label_window_s
        labels, _ = reader.labels(start_ms - wait_ms, end_ms - wait_ms)
        found = _outcomes(item, labels, reader.words).of(task, window_s).seen
        seen |= {(task, hour): count for hour, count in found.items()}
    return seen


def _outcomes(item: WorkItem, labels: Labels, words: Words) -> Outcomes:
    rows = Prepared.of(item, Predictions.concat([], len(item.sla.slice_features)), labels, words)
    return Outcomes(item.sla, labels, rows.label_key, rows.keys, rows.answered, words)


def _files(folder: Path, tasks: list[str]) -> int | None:
    """A number for the names and sizes of a folder's files, and the tasks that are asked for; None: no folder."""
    try:
        found = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return zlib.crc32(repr((found, sorted(tasks))).encode())
