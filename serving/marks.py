"""How far this writer is, per model: what is outstanding, what was lost, what label sources have said."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from serinus.records import Mark
from serving.recorder import replace_file

log = logging.getLogger(__name__)


class ModelMark:
    """The state behind one model's mark."""

    def __init__(self) -> None:
        self.complete_to_ms: dict[str, int] = {}
        self.complete_at_ms: dict[str, int] = {}
        self.lost: Counter[str] = Counter()
        self._outstanding: dict[int, int] = {}
        self._numbers = itertools.count()

    def begin(self, event_ms: int) -> int:
        """A request or shadow copy whose row is still to come; returns the number to `end` it by."""
        number = next(self._numbers)
        self._outstanding[number] = event_ms
        return number

    def end(self, number: int) -> None:
        self._outstanding.pop(number, None)

    @property
    def outstanding_ms(self) -> int | None:
        return min(self._outstanding.values(), default=None)

    def complete(self, source: str, event_ms: int, wall_ms: int) -> None:
        """The source has sent every label up to `event_ms`; an earlier time than it said before changes nothing."""
        if event_ms > self.complete_to_ms.get(source, -1):
            self.complete_to_ms[source], self.complete_at_ms[source] = event_ms, wall_ms


class Marks:
    """All marks of one writer; used from one event loop, files are written in threads, one after the other."""

    def __init__(self, root: Path, writer: str, every_s: float) -> None:
        self._root, self._writer, self._every_s = root / "marks", writer, every_s
        self._models: defaultdict[str, ModelMark] = defaultdict(ModelMark)
        self._lock = asyncio.Lock()

    def of(self, model: str) -> ModelMark:
        """The state of a model; from now on it has a mark."""
        return self._models[model]

    async def write(self, model: str, durable: bool) -> None:
        """Replace the mark of a model by what holds now. Raises OSError."""
        async with self._lock:
            state = self._models[model]
            mark = Mark(
                writer=self._writer,
                wall_ms=time.time_ns() // 1_000_000,
                complete_to_ms=dict(state.complete_to_ms),
                complete_at_ms=dict(state.complete_at_ms),
                outstanding_ms=state.outstanding_ms,
                lost=dict(state.lost),
            )
            path = self._root / model / f"{self._writer}.json"
            await asyncio.to_thread(replace_file, path, msgspec.json.encode(mark), durable)

    async def write_all(self, durable: bool = False) -> None:
        for model in list(self._models):
            try:
                await self.write(model, durable)
            except OSError as error:
                log.warning("the mark of %s cannot be written: %s", model, error)

    async def keep_writing(self) -> None:
        """Write every mark again and again, for ever."""
        while True:
            await self.write_all()
            await asyncio.sleep(self._every_s)
