"""One folder of a log: frame files that are closed become Parquet (`serinus.archive`), small Parquet files one.

A frame file is closed when nobody holds its lock (`serving.recorder`) and nothing came for a while. The order is what
makes a kill harmless: a Parquet file is written under a hidden name, synced, renamed to a name that was never used; it
says what it holds; only then do the files go that it holds. A file with a bad frame stays as it is, for people."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from serinus.archive import Archive, Source, layout
from serinus.archive_files import ParquetMaker, lock_closed, remove, tidy
from serinus.archive_rows import Row, rows_of, schema, table_of
from serinus.records import MAGIC, InputRow, Kind, LabelRow, PredictionRow, read_rows

log = logging.getLogger(__name__)
TYPES: dict[Kind, type[Row]] = {"predictions": PredictionRow, "labels": LabelRow, "inputs": InputRow}
GROUP_ROWS, GROUP_BYTES = 20_000, 16 << 20
FILE_BYTES = 256 << 20
"""Bytes of frames that go into one Parquet file, about."""
SMALL_BYTES, MOST_SMALL = 16 << 20, 4
"""So many Parquet files of less than so many bytes in one folder are made one."""


class Broken(Exception):
    """A frame file does not hold what was written."""


@dataclass(slots=True)
class _Frames:
    """A closed frame file, locked: frames from byte `start` on, numbered from `first`."""

    path: Path
    fd: int
    start: int
    first: int


@dataclass(slots=True)
class _Parquet:
    """A Parquet file in the making. `newest_ns`: when the youngest of its rows was written."""

    maker: ParquetMaker
    sources: dict[str, Source] = field(default_factory=dict)
    replaces: list[str] = field(default_factory=list)
    frame_bytes: int = 0
    newest_ns: int = 0


class Archiver:
    """`quiet_s`: a frame file is closed when nothing came for so long."""

    def __init__(self, folder: Path, kind: Kind, quiet_s: float) -> None:
        self._folder, self._kind, self._quiet_s = folder, kind, quiet_s
        self._decode = msgspec.msgpack.Decoder(TYPES[kind]).decode
        self._open: _Parquet | None = None

    def run(self, now: float) -> int:
        """Do what is to be done; returns how many rows became Parquet. Raises OSError, ValueError; can be run again.

        `now`: Unix seconds."""
        tidy(self._folder)
        rows = 0
        with contextlib.ExitStack() as opened:
            done: list[Path] = []
            for frames in self._closed(now, opened):
                try:
                    rows += self._take(frames)
                    done.append(frames.path)
                except Broken as error:
                    log.error("%s stays as it is: %s", frames.path, error)
            self._finish()
            remove(self._folder, done)
        self._merge()
        return rows

    def _closed(self, now: float, opened: contextlib.ExitStack) -> Iterator[_Frames]:
        """Frame files that nobody writes to any more, locked until `opened` is closed."""
        for piece in layout(self._folder).pieces:
            if piece.archived or now - piece.path.stat().st_mtime < self._quiet_s:
                continue
            fd = lock_closed(piece.path, opened)
            if fd is not None:
                yield _Frames(piece.path, fd, piece.start, piece.rows)

    def _take(self, frames: _Frames) -> int:
        """Put the rows of a frame file into Parquet. Raises Broken, before any was put."""
        for _ in self._groups(frames):
            pass
        name, number, at = frames.path.name, frames.first, frames.start
        for rows, end in self._groups(frames):
            parquet = self._writable()
            places = ((frames.path.stem, number + place) for place in range(len(rows)))
            parquet.maker.writer.write_table(table_of(self._kind, rows, places))
            number += len(rows)
            parquet.sources[name] = Source(name, end, number)
            parquet.newest_ns = max(parquet.newest_ns, os.fstat(frames.fd).st_mtime_ns)
            parquet.frame_bytes += end - at
            at = end
            if parquet.frame_bytes >= FILE_BYTES:
                self._finish()
        return number - frames.first

    def _groups(self, frames: _Frames) -> Iterator[tuple[list[Row], int]]:
        """Some rows at a time, and the byte after them. Raises Broken."""
        rows: list[Row] = []
        begin = end = frames.start
        for end, row in self._rows(frames):
            rows.append(row)
            if len(rows) >= GROUP_ROWS or end - begin >= GROUP_BYTES:
                yield rows, end
                rows, begin = [], end
        if rows:
            yield rows, end

    def _rows(self, frames: _Frames) -> Iterator[tuple[int, Row]]:
        """(byte after it, row) of each whole frame; a torn last one, of a writer that was killed, is no row."""
        size = os.fstat(frames.fd).st_size
        if size <= max(frames.start, len(MAGIC)):
            return
        with mmap.mmap(frames.fd, size, access=mmap.ACCESS_READ) as data:
            if data[: len(MAGIC)] != MAGIC:
                raise Broken("it is no log of a format that is known here")
            whole: Any = data  # read_rows takes slices of it, which are bytes
            try:
                for end, payload in read_rows(whole, frames.start or len(MAGIC)):
                    row = self._decode(payload)
                    if len(row.id) != 16:
                        raise Broken(f"the id before byte {end} has {len(row.id)} bytes")
                    yield end, row
            except (ValueError, msgspec.MsgspecError) as error:
                raise Broken(str(error)) from error

    def _merge(self) -> None:
        """Make the small Parquet files one when they are many."""
        import pyarrow.parquet as pq  # noqa: PLC0415 (most runs need none of it)

        found = layout(self._folder)
        small = [name for name in found.archives if (self._folder / name).stat().st_size < SMALL_BYTES]
        if len(small) < MOST_SMALL:
            return
        parquet = self._writable()
        for name in small:
            path = self._folder / name
            for batch in pq.ParquetFile(path).iter_batches(GROUP_ROWS):
                parquet.maker.writer.write_table(_renewed(self._kind, batch))
            parquet.newest_ns = max(parquet.newest_ns, path.stat().st_mtime_ns)
            for source in found.archives[name].sources:
                known = parquet.sources.get(source.name, source)
                if source.name in found.names:  # of those that are gone nothing needs to be known
                    parquet.sources[source.name] = source if source.end >= known.end else known
        parquet.replaces = small
        self._finish()
        remove(self._folder, [self._folder / name for name in small])

    def _writable(self) -> _Parquet:
        """The Parquet file that is being written."""
        if self._open is None:
            self._open = _Parquet(ParquetMaker(self._folder, self._kind))
        return self._open

    def _finish(self) -> None:
        """Put the Parquet file where readers see it."""
        if self._open is None:
            return
        parquet, self._open = self._open, None
        archive = Archive([*parquet.sources.values()], parquet.replaces)
        parquet.maker.publish(parquet.maker.seal(archive, parquet.newest_ns))


def _renewed(kind: Kind, batch: Any) -> Any:
    """A batch of an archive as a table with today's columns: older files may lack some."""
    import pyarrow as pa  # noqa: PLC0415

    table = pa.Table.from_batches([batch])
    if table.schema.equals(schema(kind)):
        return table
    places = zip(table.column("writer").to_pylist(), table.column("sequence").to_pylist(), strict=True)
    return table_of(kind, rows_of(kind, table), places)
