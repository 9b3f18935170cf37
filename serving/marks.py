"""How far this writer is, per model: what is outstanding, what was lost, what label sources have said."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Protocol

from serinus.records import Mark

log = logging.getLogger(__name__)
MINUTE_MS = 60_000
MOST_MINUTES = 10_000
"""Minutes of losses that a mark remembers: a week; the oldest go first."""


class Board(Protocol):
    """Where marks are shown, to be written once every row that was recorded before is in the log."""

    def show(self, marks: Mapping[str, Mark], durable: Set[str]) -> int:
        """Returns a number that rises. Raises OSError when they cannot be shown."""
        ...

    async def shown(self, number: int) -> None:
        """Until the marks of that number, or newer ones, are written. Raises OSError when that takes too long."""
        ...


class ModelMark:
    """The state behind one model's mark."""

    def __init__(self) -> None:
        self.complete_to_ms: dict[str, int] = {}
        self.complete_at_ms: dict[str, int] = {}
        self.complete_tasks: dict[str, list[str]] = {}
        self.newest_ms: int | None = None
        self.lost: Counter[str] = Counter()
        self.lost_by_minute: dict[int, int] = {}
        self._outstanding: dict[int, int] = {}
        self._numbers = itertools.count()

    def begin(self, event_ms: int) -> int:
        """A request or shadow copy whose row is still to come; returns the number to `end` it by."""
        number = next(self._numbers)
        self._outstanding[number] = event_ms
        self.newest_ms = event_ms if self.newest_ms is None else max(self.newest_ms, event_ms)
        return number

    def end(self, number: int) -> None:
        self._outstanding.pop(number, None)

    @property
    def outstanding_ms(self) -> int | None:
        return min(self._outstanding.values(), default=None)

    def lose(self, kind: str, event_ms: int, rows: int) -> None:
        """Rows of a log that could not be recorded. Those of answers are counted by their minute: evidence needs it."""
        self.lost[kind] += rows
        if kind == "predictions":
            minute = event_ms // MINUTE_MS
            self.lost_by_minute[minute] = self.lost_by_minute.get(minute, 0) + rows
            if len(self.lost_by_minute) > MOST_MINUTES:
                del self.lost_by_minute[min(self.lost_by_minute)]

    def complete(self, source: str, event_ms: int, wall_ms: int, tasks: Sequence[str] = ()) -> None:
        """The source has sent every label of these tasks (none: of all) up to `event_ms`; an earlier time than it said
        before changes nothing."""
        if tasks:
            self.complete_tasks[source] = sorted(tasks)
        else:
            self.complete_tasks.pop(source, None)
        if event_ms > self.complete_to_ms.get(source, -1):
            self.complete_to_ms[source], self.complete_at_ms[source] = event_ms, wall_ms


class Marks:
    """All marks of one writer; used from one event loop."""

    def __init__(self, board: Board, writer: str, every_s: float) -> None:
        self._board, self._writer, self._every_s = board, writer, every_s
        self._models: defaultdict[str, ModelMark] = defaultdict(ModelMark)
        self._durable: dict[str, int] = {}

    def of(self, model: str) -> ModelMark:
        """The state of a model; from now on it has a mark."""
        return self._models[model]

    async def write(self, model: str, durable: bool) -> None:
        """Replace the mark of a model by what holds now, and wait until that is done. Raises OSError."""
        self._models[model]
        number = self._show({model} if durable else set())
        if durable:
            self._durable[model] = number  # a newer board may be the one that is written
        try:
            await self._board.shown(number)
        finally:
            if self._durable.get(model) == number:
                del self._durable[model]

    async def write_all(self, durable: bool = False) -> None:
        """Replace every mark and wait until that is done; it is logged when it cannot be."""
        try:
            await self._board.shown(self._show(set(self._models) if durable else set()))
        except OSError as error:
            log.warning("the marks cannot be written: %s", error)

    async def keep_writing(self, known: Callable[[], Iterable[str]] = tuple) -> None:
        """Show every mark again and again, for ever. `known`: models that have one before their first request."""
        while True:
            for model in known():
                self.of(model)
            try:
                self._show(set())
            except OSError as error:
                log.warning("the marks cannot be shown: %s", error)
            await asyncio.sleep(self._every_s)

    def _show(self, durable: Set[str]) -> int:
        wall_ms = time.time_ns() // 1_000_000
        marks = {
            model: Mark(
                writer=self._writer,
                wall_ms=wall_ms,
                complete_to_ms=dict(state.complete_to_ms),
                complete_at_ms=dict(state.complete_at_ms),
                outstanding_ms=state.outstanding_ms,
                lost=dict(state.lost),
                lost_by_minute=dict(state.lost_by_minute),
                complete_tasks=dict(state.complete_tasks),
                newest_ms=state.newest_ms,
            )
            for model, state in self._models.items()
        }
        return self._board.show(marks, durable | self._durable.keys())
