"""What of the logs is due at a tick of event time, read and joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from monitors.join import Due, combine, early_horizons, horizons, join_answers, join_early, join_mature
from monitors.log import LogReader
from monitors.rows import Tick
from serinus.evidence import WorkItem

Reach = Mapping[str, tuple[int, int]]
"""Task -> the ticks after which, and up to which, its labels are looked at; those of other tasks are the tick's own."""


def read_tick(item: WorkItem, reader: LogReader, previous_ms: int, tick_ms: int, reach: Reach | None = None) -> Tick:
    """Everything that is due at `tick_ms` and was not at `previous_ms` (event time, Unix ms).

    `reach`: of tasks whose labels wait, or catch up."""
    parts, broken = [], set[str]()
    joins: tuple[tuple[dict[int, tuple[str, ...]], Callable[[WorkItem, Iterable[str], Due, int], Tick]], ...] = (
        (horizons(item.sla), join_mature),
        (early_horizons(item.sla), join_early),
    )
    for waits, join in joins:
        for wait_s, together in waits.items():
            for (start_ms, end_ms), tasks in _by_reach(together, reach or {}, (previous_ms, tick_ms)).items():
                due = (start_ms - wait_s * 1000, end_ms - wait_s * 1000)
                predictions, bad = reader.predictions(*due)
                labels, worse = reader.labels(*due)
                parts.append(join(item, tasks, Due(predictions, labels, reader.words), end_ms))
                broken |= {*bad, *worse}
    answered, bad = reader.predictions(previous_ms, tick_ms)
    answers = join_answers(item, answered, reader.words)
    return combine(tick_ms, parts, answers, tuple(sorted(broken | set(bad))), reader.lost(previous_ms, tick_ms))


def _by_reach(tasks: Iterable[str], reach: Reach, usual: tuple[int, int]) -> dict[tuple[int, int], list[str]]:
    found: dict[tuple[int, int], list[str]] = {}
    for task in tasks:
        start_ms, end_ms = reach.get(task, usual)
        if start_ms < end_ms:
            found.setdefault((start_ms, end_ms), []).append(task)
    return found
