"""Reads the logs of one model, incrementally: every file once, its tail when it grew.

Frame files, and the Parquet files that closed ones become, are read together, each row once (`serinus.archive`). A
row counts only where its event time is in the hour of its folder. Files that are broken are named; what could be read
before the bad part counts. Rows are kept in memory up to a number of them, the least recently used files go first.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from monitors.arrow import labels_of, predictions_of
from monitors.columns import Ints, Labels, Words
from monitors.portion import ALL, Portion
from monitors.predictions import Predictions
from monitors.segments import Columns, Parse, Shelf
from monitors.watermark import lost_rows, read_marks
from serinus.archive_rows import rows_of
from serinus.records import InputRow, Kind, LabelRow, PredictionRow, hour_of, log_folder

HOUR_MS = 3_600_000
CACHED_ROWS = 2_000_000
CACHED_INPUTS = 100_000
"""Raw inputs are large, and of each hour they are read once or twice: fewer are kept."""
_prediction = msgspec.msgpack.Decoder(PredictionRow).decode
_label = msgspec.msgpack.Decoder(LabelRow).decode
_input = msgspec.msgpack.Decoder(InputRow).decode
C = TypeVar("C", bound=Columns)
T = TypeVar("T", Predictions, Labels)
R = TypeVar("R", PredictionRow, LabelRow)


class LogReader:
    """The logs of one model under `root`. `slices`: raw inputs whose values matter, in the order of the SLA.

    `portion`: of predictions and labels, only those; raw inputs are all there."""

    def __init__(
        self,
        root: Path,
        model: str,
        slices: tuple[str, ...],
        cached_rows: int = CACHED_ROWS,
        portion: Portion = ALL,
    ) -> None:
        self.root, self.model, self.slices, self.portion = root, model, slices, portion
        words = self.words = Words()
        self._predictions = Shelf[Predictions](
            Parse(
                "predictions",
                lambda frames: Predictions.of(_mine([_prediction(each) for each in frames], portion), words, slices),
                lambda table: predictions_of(table, words, slices),
                lambda parts: Predictions.concat(parts, len(slices)),
                portion,
            ),
            cached_rows,
        )
        self._labels = Shelf[Labels](
            Parse(
                "labels",
                lambda frames: Labels.of(_mine([_label(each) for each in frames], portion), words),
                lambda table: labels_of(table, words),
                Labels.concat,
                portion,
            ),
            cached_rows,
        )
        self._inputs = Shelf[list[InputRow]](
            Parse(
                "inputs",
                lambda frames: [_input(each) for each in frames],
                lambda table: rows_of("inputs", table),
                lambda parts: list(chain.from_iterable(parts)),
            ),
            min(cached_rows, CACHED_INPUTS),
        )

    def predictions(self, start_ms: int, end_ms: int) -> tuple[Predictions, tuple[str, ...]]:
        """Predictions of event time [start_ms, end_ms), and the names of broken files among those that were read."""
        parts, broken = self._read(self._predictions, start_ms, end_ms, self._within)
        return Predictions.concat(parts, len(self.slices)), broken

    def labels(self, start_ms: int, end_ms: int) -> tuple[Labels, tuple[str, ...]]:
        """Labels of predictions of event time [start_ms, end_ms), and the names of broken files."""
        parts, broken = self._read(self._labels, start_ms, end_ms, self._within)
        return Labels.concat(parts), broken

    def inputs(self, start_ms: int, end_ms: int) -> tuple[list[InputRow], tuple[str, ...]]:
        """Raw inputs of requests of event time [start_ms, end_ms), and the names of broken files. An input that was
        written twice comes twice. Ask for an hour or a tick at a time: the rows are held in memory."""
        parts, broken = self._read(self._inputs, start_ms, end_ms, _inputs_within)
        return list(chain.from_iterable(parts)), broken

    def lost(self, start_ms: int, end_ms: int) -> int:
        """Rows of answers that could not be recorded, of the minutes whose end lies in (start_ms, end_ms]."""
        return lost_rows(read_marks(self.root, self.model), start_ms, end_ms, self.portion)

    def _read(
        self, shelf: Shelf[C], start_ms: int, end_ms: int, within: Callable[[C, int, int], C]
    ) -> tuple[list[C], tuple[str, ...]]:
        kept: list[C] = []
        broken: list[Path] = []
        for hour in range(start_ms // HOUR_MS, -(-end_ms // HOUR_MS)):
            first, last = max(start_ms, hour * HOUR_MS), min(end_ms, (hour + 1) * HOUR_MS)
            parts, bad = shelf.read(self._folder(shelf.parse.kind, hour), first, last)
            kept += [within(part, first, last) for part in parts]
            broken += bad
        shelf.shrink()
        return kept, tuple(str(path.relative_to(self.root)) for path in broken)

    def _folder(self, kind: Kind, hour: int) -> Path:
        return log_folder(self.root, kind, self.model, hour_of(hour * HOUR_MS))

    def _within(self, rows: T, start_ms: int, end_ms: int) -> T:
        def inside(event_ms: Ints) -> NDArray[np.bool_]:
            found = np.asarray((event_ms >= start_ms) & (event_ms < end_ms))
            return found & self.portion.holds(event_ms) if self.portion.of > 1 else found

        return rows.within(inside)


def _mine(rows: list[R], portion: Portion) -> list[R]:
    if portion.of == 1:
        return rows
    return [row for row in rows if portion.meets(at := int.from_bytes(row.id[:6], "big"), at)]


def _inputs_within(rows: list[InputRow], start_ms: int, end_ms: int) -> list[InputRow]:
    return [row for row in rows if start_ms <= int.from_bytes(row.id[:6], "big") < end_ms]
