"""Micro-batches, off unless the pool is told a size: requests that arrive within one turn of the event loop are run
together and answered apart. Nobody is waited for: a lone request is run in the same turn.

What must not change by it: a request that is short of time, a ranking, and a version whose parts are cached are run
alone; the last good answer of an entity is kept and used for each request by itself; where something stood in for a
joined run's answer, each of its requests gets a run of its own, so that nobody falls back for a neighbour's values."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.applied import Applied, Group
from serving.ask import Ask, Output, Tensor

AMPLE_NS = 50_000_000
"""A request with less time left than this is not joined: its deadline would become the others'."""
AGAIN_WITHIN_NS = 3_000_000
"""How long after its beginning a joined run is followed by single ones: not when a head hangs."""
Key = tuple[int, int]


@dataclass(slots=True)
class Waiting:
    """One request that waits for the end of this turn. `deadline_ns`: time.perf_counter_ns, None: it has none."""

    ask: Ask
    deadline_ns: int | None
    answer: asyncio.Future[list[Output]]


class Batcher:
    """`max_rows`: of one joined run; 0: every request is run by itself, at once."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._waiting: dict[Key, tuple[Applied, tuple[Group, ...], list[Waiting]]] = {}
        self.runs = self.joined = 0

    async def run(
        self, applied: Applied, ask: Ask, groups: tuple[Group, ...], deadline_ns: int | None = None
    ) -> list[Output]:
        """The outputs of these groups for one request. Raises what the engine raises."""
        if not self._joins(applied, ask, groups, deadline_ns):
            return applied.run(ask.inputs, groups, ask.entity, deadline_ns)
        loop = asyncio.get_running_loop()
        key = id(applied), id(groups)
        if key not in self._waiting:
            self._waiting[key] = applied, groups, []
            loop.call_soon(self._flush, key)
        waiting = Waiting(ask, deadline_ns, loop.create_future())
        self._waiting[key][2].append(waiting)
        return await waiting.answer

    def _joins(self, applied: Applied, ask: Ask, groups: tuple[Group, ...], deadline_ns: int | None) -> bool:
        if 2 * ask.rows > self._max_rows:
            return False
        if deadline_ns is not None and deadline_ns - time.perf_counter_ns() < AMPLE_NS:
            return False
        if any(len(tensor) != ask.rows for tensor in ask.inputs.values()):
            return False
        return not any(part.cache for group in groups for part in applied.engines[group.digest].manifest.parts)

    def _flush(self, key: Key) -> None:
        """Run what has come in this turn, as many requests at a time as there is room for."""
        applied, groups, waiting = self._waiting.pop(key)
        some, rows = list[Waiting](), 0
        for each in waiting:
            if each.answer.done():  # its caller went away
                continue
            if rows + each.ask.rows > self._max_rows:
                self._answer(applied, groups, some)
                some, rows = [], 0
            some.append(each)
            rows += each.ask.rows
        if some:
            self._answer(applied, groups, some)

    def _answer(self, applied: Applied, groups: tuple[Group, ...], some: Sequence[Waiting]) -> None:
        self.runs += 1
        if len(some) > 1 and (found := _together(applied, groups, some)) is not None:
            self.joined += len(some)
            for waiting, outputs in zip(some, found, strict=True):
                waiting.answer.set_result(outputs)
            return
        for waiting in some:
            try:
                outputs = applied.run(waiting.ask.inputs, groups, waiting.ask.entity, waiting.deadline_ns)
                waiting.answer.set_result(outputs)
            except Exception as error:  # it is that request's, whatever it is
                waiting.answer.set_exception(error)


def _together(applied: Applied, groups: tuple[Group, ...], some: Sequence[Waiting]) -> list[list[Output]] | None:
    """The outputs of each request by one run, or None: each should have a run of its own."""
    first, began = some[0].ask, time.perf_counter_ns()
    deadlines = [waiting.deadline_ns for waiting in some if waiting.deadline_ns is not None]
    try:
        inputs: dict[str, Tensor] = {name: np.concatenate([w.ask.inputs[name] for w in some]) for name in first.inputs}
        outputs = applied.run(inputs, groups, "", min(deadlines, default=None))
    except Exception:  # whose it is, single runs will tell
        return None
    if any(output.fallback for output in outputs) and time.perf_counter_ns() < began + AGAIN_WITHIN_NS:
        return None
    ends = np.cumsum([waiting.ask.rows for waiting in some]).tolist()
    groups_of = {task: group for group in groups for task in group.tasks}
    return [
        [_own(applied, groups_of[o.task], o, waiting.ask, o.values[end - waiting.ask.rows : end]) for o in outputs]
        for waiting, end in zip(some, ends, strict=True)
    ]


def _own(applied: Applied, group: Group, output: Output, ask: Ask, values: Tensor) -> Output:
    """One request's share of an output. The engine did not know whose rows they are, so that the last good answer of
    its entity is kept, or stands in, here."""
    policy = group.heads.get(output.task)
    if ask.entity and ask.rows == 1 and policy is not None and policy.fallback == "last_known_good":
        last_good = applied.engines[group.digest].last_good
        if not output.fallback:
            last_good.keep(output.task, ask.entity, values)
        elif (known := last_good.get(output.task, ask.entity)) is not None:
            return Output(output.task, known, output.version, "last_known_good")
    return Output(output.task, values, output.version, output.fallback)
