"""Reads the two logs of one model, incrementally: every file once, its tail when it grew.

Frame files, and the Parquet files that closed ones become, are read together, each row once (`serinus.archive`). A
file that does not hold what was written is set aside from the bad frame on, named in `corrupt`; the rows before it
count. Parsed files are kept up to a number of rows, the least recently used ones go first.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from monitors.columns import Labels, Predictions, Words
from serinus.archive import Piece, read_whole, rows_of
from serinus.records import InputRow, Kind, LabelRow, PredictionRow, hour_of, log_folder, read_rows

_log = logging.getLogger(__name__)

HOUR_MS = 3_600_000
CACHED_ROWS = 2_000_000
CACHED_INPUTS = 100_000
"""Raw inputs are large, and of each hour they are read once or twice: fewer are kept."""
PARQUET_ROWS = 100_000
_PARTS = 8
_prediction = msgspec.msgpack.Decoder(PredictionRow).decode
_label = msgspec.msgpack.Decoder(LabelRow).decode
_input = msgspec.msgpack.Decoder(InputRow).decode


class Columns(Protocol):
    def __len__(self) -> int: ...


C = TypeVar("C", bound=Columns)


@dataclass(frozen=True, slots=True)
class Parse(Generic[C]):
    """How rows of a kind become columns: frames, which raise MsgspecError, or rows."""

    kind: Kind
    frames: Callable[[list[bytes]], C]
    rows: Callable[[list[Any]], C]


@dataclass(slots=True)
class LogFile(Generic[C]):
    """One file: bytes read so far, its rows, and why it was set aside, if it was."""

    path: Path
    offset: int = 0
    parts: list[C] = field(default_factory=list)
    corrupt: str = ""

    def refresh(self, parse: Parse[C]) -> None:
        """Read what was appended since the last time. Raises FileNotFoundError."""
        if self.corrupt or self.path.stat().st_size <= self.offset:
            return
        if self.path.suffix == ".parquet":
            self._unpack(parse)
        else:
            self._read_on(parse)

    def _unpack(self, parse: Parse[C]) -> None:
        """Read a Parquet file, which never changes."""
        self.offset = self.path.stat().st_size
        try:
            with pq.ParquetFile(self.path) as file:
                batches = file.iter_batches(PARQUET_ROWS)
                self.parts = [parse.rows(rows_of(parse.kind, pa.Table.from_batches([batch]))) for batch in batches]
        except pa.ArrowException as error:
            self._set_aside(str(error))

    def _read_on(self, parse: Parse[C]) -> None:
        back = 1 if self.offset else 0  # one byte back, so that only the start of the file counts as byte 0
        with self.path.open("rb") as file:
            file.seek(self.offset - back)
            data = file.read()
        payloads: list[bytes] = []
        at = back
        try:
            for end, payload in read_rows(data, back):
                payloads.append(payload)
                at = end
        except ValueError as error:
            self._set_aside(str(error))
        if payloads:
            self._take(payloads, parse)
        self.offset += at - back

    def _take(self, payloads: list[bytes], parse: Parse[C]) -> None:
        """Parse what can be parsed: a frame that is whole but no row of ours ends the file as well."""
        try:
            self.parts.append(parse.frames(payloads))
        except msgspec.MsgspecError as error:
            good = next(at for at, payload in enumerate(payloads) if not _parses(parse, payload))
            self._set_aside(f"frame {good} after byte {self.offset} is no row: {error}")
            if good:
                self.parts.append(parse.frames(payloads[:good]))

    def _set_aside(self, why: str) -> None:
        self.corrupt = why
        _log.error("log %s is set aside from a bad frame on: %s", self.path, why)

    @property
    def rows(self) -> int:
        return sum(len(part) for part in self.parts)


def _parses(parse: Parse[C], payload: bytes) -> bool:
    try:
        parse.frames([payload])
    except msgspec.MsgspecError:
        return False
    return True


class Shelf(Generic[C]):
    """Parsed files of one kind, up to `limit` rows; by their path, and the byte from which on they are read."""

    def __init__(self, parse: Parse[C], join: Callable[[list[C]], C], limit: int) -> None:
        self.parse, self.join, self.limit = parse, join, limit
        self.files: OrderedDict[tuple[Path, int], LogFile[C]] = OrderedDict()

    def read(self, folders: list[Path]) -> list[LogFile[C]]:
        """The files of these folders, as far as they are written now, every row in one of them. Raises OSError."""
        wanted = [file for folder in folders for file in read_whole(folder, self._read)]
        while len(self.files) > len(wanted) and sum(file.rows for file in self.files.values()) > self.limit:
            self.files.popitem(last=False)
        return wanted

    def _read(self, pieces: list[Piece]) -> list[LogFile[C]]:
        found = []
        for piece in pieces:
            key = (piece.path, piece.start)
            file = self.files.setdefault(key, LogFile(*key))
            self.files.move_to_end(key)
            file.refresh(self.parse)
            if len(file.parts) > _PARTS:
                file.parts = [self.join(file.parts)]
            found.append(file)
        return found


class LogReader:
    """The logs of one model under `root`. `slices`: raw inputs whose values matter, in the order of the SLA."""

    def __init__(self, root: Path, model: str, slices: tuple[str, ...], cached_rows: int = CACHED_ROWS) -> None:
        self.root, self.model, self.slices = root, model, slices
        self.words = Words()
        predictions = Parse("predictions", self._parse_predictions, self._predictions_of)
        labels = Parse("labels", self._parse_labels, self._labels_of)
        self._predictions = Shelf(predictions, Predictions.concat, cached_rows)
        self._labels = Shelf(labels, Labels.concat, cached_rows)
        inputs: Parse[list[InputRow]] = Parse("inputs", lambda frames: [_input(each) for each in frames], list)
        self._inputs = Shelf(inputs, _joined, min(cached_rows, CACHED_INPUTS))

    def predictions(self, start_ms: int, end_ms: int) -> tuple[Predictions, tuple[str, ...]]:
        """Predictions of event time [start_ms, end_ms), and the names of broken files among those that were read."""
        files = self._predictions.read(self._folders("predictions", start_ms, end_ms))
        parts = [part.take(_within(part.event_ms, start_ms, end_ms)) for file in files for part in file.parts]
        return Predictions.concat(parts, len(self.slices)), self._broken(files)

    def labels(self, start_ms: int, end_ms: int) -> tuple[Labels, tuple[str, ...]]:
        """Labels of predictions of event time [start_ms, end_ms), and the names of broken files."""
        files = self._labels.read(self._folders("labels", start_ms, end_ms))
        parts = [part.take(_within(part.event_ms, start_ms, end_ms)) for file in files for part in file.parts]
        return Labels.concat(parts), self._broken(files)

    def inputs(self, start_ms: int, end_ms: int) -> tuple[list[InputRow], tuple[str, ...]]:
        """Raw inputs of requests of event time [start_ms, end_ms), and the names of broken files. An input that was
        written twice comes twice. Ask for an hour or a tick at a time: the rows are held in memory."""
        files = self._inputs.read(self._folders("inputs", start_ms, end_ms))
        rows = [row for file in files for part in file.parts for row in part]
        return [row for row in rows if start_ms <= int.from_bytes(row.id[:6], "big") < end_ms], self._broken(files)

    def _folders(self, kind: Kind, start_ms: int, end_ms: int) -> list[Path]:
        hours = range(start_ms // HOUR_MS, -(-end_ms // HOUR_MS))
        return [log_folder(self.root, kind, self.model, hour_of(hour * HOUR_MS)) for hour in hours]

    def _parse_predictions(self, payloads: list[bytes]) -> Predictions:
        return self._predictions_of([_prediction(each) for each in payloads])

    def _predictions_of(self, rows: list[PredictionRow]) -> Predictions:
        return Predictions.of(rows, self.words, self.slices)

    def _parse_labels(self, payloads: list[bytes]) -> Labels:
        return self._labels_of([_label(each) for each in payloads])

    def _labels_of(self, rows: list[LabelRow]) -> Labels:
        return Labels.of(rows, self.words)

    def _broken(self, files: list[LogFile[C]]) -> tuple[str, ...]:
        return tuple(str(file.path.relative_to(self.root)) for file in files if file.corrupt)


def _joined(parts: list[list[InputRow]]) -> list[InputRow]:
    return [row for part in parts for row in part]


def _within(event_ms: NDArray[np.int64], start_ms: int, end_ms: int) -> NDArray[np.bool_]:
    return np.asarray((event_ms >= start_ms) & (event_ms < end_ms))
