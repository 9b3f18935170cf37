"""Files of a log: frames, read on as they grow, and Parquet, read by row group as its hours are wanted.

A file that does not hold what was written is set aside, with the reason: frames from the bad one on, Parquet by the
row group that is bad (one whose file has another CRC than its name is not read at all: `serinus.archive`). What is left
out does not depend on what was asked for first. The other files go on.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from monitors.arrow import columns_of
from monitors.portion import ALL, Portion
from serinus.archive import Layout, is_damage, read_layout
from serinus.archive_rows import DICTIONARIES
from serinus.records import Kind, read_rows

_log = logging.getLogger(__name__)

_PARTS = 8
NO_ROW = (msgspec.MsgspecError, ValueError, TypeError, KeyError, OverflowError)
"""What parsing says of bytes that are whole, but no row of ours."""


class Columns(Protocol):
    def __len__(self) -> int: ...


C = TypeVar("C", bound=Columns)


@dataclass(frozen=True, slots=True)
class Parse(Generic[C]):
    """How rows of a kind become columns: frames, or the table of a row group. Both raise one of NO_ROW.

    `portion`: the rows that are wanted; of others there may be some, or none."""

    kind: Kind
    frames: Callable[[list[bytes]], C]
    table: Callable[[Any], C]
    join: Callable[[list[C]], C]
    portion: Portion = ALL


@dataclass(slots=True)
class Segment(Generic[C]):
    """One file. `corrupt`: why it was set aside, if it was."""

    path: Path
    parse: Parse[C]
    corrupt: str = ""

    def read(self, start_ms: int, end_ms: int) -> list[C]:
        """All rows whose event time may lie in [start_ms, end_ms), in parts; others may be among them. Raises OSError,
        where the disk says so; FileNotFoundError, where the file went."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Rows in memory."""
        raise NotImplementedError

    def set_aside(self, why: str) -> None:
        self.corrupt = why
        _log.error("log %s is set aside: %s", self.path, why)


@dataclass(slots=True)
class Frames(Segment[C]):
    """A file of frames from byte `offset` on, which rises as it is read."""

    offset: int = 0
    parts: list[C] = field(default_factory=list)

    def read(self, start_ms: int, end_ms: int) -> list[C]:  # noqa: ARG002 (what comes in one file is of one hour)
        if self.path.stat().st_size > self.offset and not self.corrupt:
            self._read_on()
            if len(self.parts) > _PARTS:
                self.parts = [self.parse.join(self.parts)]
        return self.parts

    @property
    def rows(self) -> int:
        return sum(len(part) for part in self.parts)

    def _read_on(self) -> None:
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
            self.set_aside(str(error))
        if payloads:
            self._take(payloads)
        self.offset += at - back

    def _take(self, payloads: list[bytes]) -> None:
        """Parse what can be parsed: a frame that is whole but no row of ours ends the file as well."""
        try:
            self.parts.append(self.parse.frames(payloads))
        except NO_ROW as error:
            good = next((at for at, payload in enumerate(payloads) if not self._parses(payload)), 0)
            self.set_aside(f"frame {good} after byte {self.offset} is no row: {error}")
            if good:
                self.parts.append(self.parse.frames(payloads[:good]))

    def _parses(self, payload: bytes) -> bool:
        try:
            self.parse.frames([payload])
        except NO_ROW:
            return False
        return True


@dataclass(slots=True)
class Archived(Segment[C]):
    """A Parquet file, which never changes. `spans`: event times (first, last) of each row group, None before they are
    known; `groups`: those that were read."""

    spans: list[tuple[int, int]] | None = None
    groups: dict[int, C] = field(default_factory=dict)

    def read(self, start_ms: int, end_ms: int) -> list[C]:
        try:
            if self.spans is None or any(at not in self.groups for at in self._wanted(start_ms, end_ms)):
                self._unpack(start_ms, end_ms)
        except (*NO_ROW, pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and not is_damage(error):
                raise
            self.set_aside(str(error))
            self.spans = self.spans or []
        return [self.groups[at] for at in self._wanted(start_ms, end_ms) if at in self.groups]

    @property
    def rows(self) -> int:
        return sum(len(part) for part in self.groups.values())

    def _wanted(self, start_ms: int, end_ms: int) -> list[int]:
        meets = self.parse.portion.meets
        spans = enumerate(self.spans or [])
        return [
            at
            for at, (first, last) in spans
            if last >= start_ms and first < end_ms and meets(max(first, start_ms), min(last, end_ms - 1))
        ]

    def _unpack(self, start_ms: int, end_ms: int) -> None:
        kind = self.parse.kind
        with pq.ParquetFile(
            self.path, memory_map=True, read_dictionary=DICTIONARIES[kind], page_checksum_verification=True
        ) as file:
            if self.spans is None:
                self.spans = spans_of(file.metadata)
            for at in self._wanted(start_ms, end_ms):
                if at not in self.groups:
                    self._take(file, at)

    def _take(self, file: Any, at: int) -> None:
        """A row group that is bad counts as one without rows."""
        try:
            self.groups[at] = self.parse.table(self._group(file, at))
        except (*NO_ROW, pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and not is_damage(error):
                raise
            self.groups[at] = self.parse.join([])
            self.set_aside(f"row group {at}: {error}")

    def _group(self, file: Any, at: int) -> Any:
        columns = columns_of(self.parse.kind, file.metadata.row_group(at))
        try:
            return file.read_row_group(at, columns=columns, use_threads=False)
        except pa.ArrowNotImplementedError:  # a column with too many words for one dictionary
            with pq.ParquetFile(self.path, memory_map=True, page_checksum_verification=True) as plain:
                return plain.read_row_group(at, columns=columns, use_threads=False)


def spans_of(metadata: Any) -> list[tuple[int, int]]:
    """The first and last event time (Unix ms) of each row group, by the statistics of its ids; all of time without."""
    leaves = [metadata.schema.column(at).path for at in range(metadata.num_columns)]
    spans = []
    for at in range(metadata.num_row_groups):
        said = metadata.row_group(at).column(leaves.index("id")).statistics
        first, last = (said.min, said.max) if said is not None and said.has_min_max else (b"", b"")
        known = len(first) == len(last) == 16
        spans.append((int.from_bytes(first[:6], "big"), int.from_bytes(last[:6], "big")) if known else (0, 1 << 48))
    return spans


class Shelf(Generic[C]):
    """Files of one kind with their rows, up to `limit` rows, the least recently used files go first; by their path, and
    the byte from which on they are read."""

    def __init__(self, parse: Parse[C], limit: int) -> None:
        self.parse, self.limit = parse, limit
        self.files: OrderedDict[tuple[Path, int], Segment[C]] = OrderedDict()
        self._rows = 0

    def read(self, folder: Path, start_ms: int, end_ms: int) -> tuple[list[C], list[Path]]:
        """Parts that hold every row of a folder of event time [start_ms, end_ms) once, as far as they are written now;
        and the files that are broken. Raises OSError."""
        wanted, broken = read_layout(folder, lambda found: self._read(found, start_ms, end_ms))
        return [part for _, parts in wanted for part in parts], broken

    def shrink(self) -> None:
        """Let go what was not used for long, down to the limit; the newest file stays."""
        while len(self.files) > 1 and self._rows > self.limit:
            _, gone = self.files.popitem(last=False)
            self._rows -= gone.rows

    def _read(self, found: Layout, start_ms: int, end_ms: int) -> tuple[list[tuple[Segment[C], list[C]]], list[Path]]:
        wanted = []
        for piece in found.pieces:
            key = (piece.path, piece.start)
            if key not in self.files:
                made: Segment[C] = (
                    Archived(piece.path, self.parse)
                    if piece.archived
                    else Frames(piece.path, self.parse, offset=piece.start)
                )
                self.files[key] = made
            self.files.move_to_end(key)
            wanted.append((self.files[key], self._of(self.files[key], start_ms, end_ms)))
        return wanted, [*found.broken, *(file.path for file, _ in wanted if file.corrupt)]

    def _of(self, file: Segment[C], start_ms: int, end_ms: int) -> list[C]:
        before = file.rows
        try:
            return file.read(start_ms, end_ms)
        finally:
            self._rows += file.rows - before
