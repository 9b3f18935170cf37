"""One hour of a model's logs: whose rows are one entity's, and the files that have any, written again without them.

Labels do not name the entity: theirs are those of its predictions and inputs. So in each hour labels go first, then
inputs, predictions last, and a run that was killed finds the others again. A frame file that is closed becomes Parquet
as in compaction (`serving.archiver`), for the bytes of frame files must not move under those who read them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from serinus.archive import Archive, Layout, Piece, Source, is_damage, layout
from serinus.archive_files import ParquetMaker, lock_closed, remove, tidy
from serinus.archive_rows import Row, table_of
from serinus.errors import BadInput
from serinus.records import InputRow, Kind, LabelRow, PredictionRow, log_folder, read_rows

__all__ = ["ORDER", "Found", "Hour", "Theirs"]

ORDER: tuple[Kind, ...] = ("labels", "inputs", "predictions")
"""In which they are erased."""
MOST_KEYS = 2_000_000
QUIET_S = 10.0
"""A frame file may just have been made, and not be locked yet."""
GROUP_ROWS = 20_000
_TYPES: dict[Kind, type[Row]] = {"predictions": PredictionRow, "labels": LabelRow, "inputs": InputRow}


@dataclass(slots=True)
class Theirs:
    """Which rows are the entity's: by its name, or by (id, index) of its predictions and id of its inputs. `met`: how
    many of those there were."""

    entity: str
    rows: set[tuple[bytes, int]] = field(default_factory=set)
    requests: set[bytes] = field(default_factory=set)
    met: int = 0
    _known: Any = None

    def add(self, ids: Sequence[bytes], indices: Sequence[int] | None) -> None:
        """Of predictions; `indices`: None: of inputs. Raises BadInput when there are too many."""
        self.met += len(ids)
        if indices is None:
            self.requests |= set(ids)
        else:
            self.rows |= set(zip(ids, indices, strict=True))
        if len(self.rows) + len(self.requests) > MOST_KEYS:
            raise BadInput(f"the entity has more than {MOST_KEYS:,} rows in one hour: this is no single entity")

    def has(self, row: Row) -> bool:
        if isinstance(row, LabelRow):
            return row.id in self.requests or (row.id, row.index) in self.rows
        return row.entity == self.entity

    def mask(self, kind: Kind, table: Any) -> Any:
        """Which rows of an Arrow table are theirs, as a boolean array of numpy."""
        if kind != "labels":
            column = table.column("entity")
            return np.asarray(pc.fill_null(pc.equal(column, self.entity), False).to_numpy(), np.bool_)
        if self._known is None:  # nothing is added any more
            self._known = pa.array([*self.requests, *{ident for ident, _ in self.rows}], pa.binary(16))
        found = np.asarray(pc.is_in(table.column("id"), self._known).to_numpy(), np.bool_)
        places = np.flatnonzero(found)
        ids = table.column("id").take(pa.array(places)).to_pylist()
        indices = table.column("index").take(pa.array(places)).to_pylist()
        found[places] = [i in self.requests or (i, at) in self.rows for i, at in zip(ids, indices, strict=True)]
        return found


@dataclass(slots=True)
class Found:
    """What an hour still holds that could not be erased now: rows in open files, and files that cannot be read."""

    open_rows: int = 0
    open_files: int = 0
    damaged: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Hour:
    """`written(path, kind, rows)`: told before a file comes that stands for others, without so many rows."""

    root: Path
    model: str
    hour: str
    written: Callable[[Path, Kind, int], None]
    _began: float = 0.0

    def erase(self, entity: str) -> Found:
        """To be called with the lock of the logs held. Raises OSError; can be called again."""
        left, theirs = Found(), Theirs(entity)
        self._began = time.time()
        layouts: dict[Kind, Layout] = {}
        for kind in ORDER:
            folder = self._folder(kind)
            if folder.is_dir():
                tidy(folder)
            layouts[kind] = layout(folder)
            left.damaged |= {self._name(path) for path in layouts[kind].broken}
        for kind in ("predictions", "inputs"):
            for piece in layouts[kind].pieces:
                self._collect(kind, piece, theirs, left)
        for kind in ORDER:
            for piece in layouts[kind].pieces:
                self._without(kind, piece, layouts[kind], theirs, left)
            if kind == "labels" and left.open_rows:  # what names the labels that stay must stay too
                left.open_rows += theirs.met
                break
        return left

    def _folder(self, kind: Kind) -> Path:
        return log_folder(self.root, kind, self.model, self.hour)

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _collect(self, kind: Kind, piece: Piece, theirs: Theirs, left: Found) -> None:
        """The keys of the entity's rows."""
        with self._damage(piece, left):
            if piece.archived:
                names = ["id", "entity", *(["index"] if kind == "predictions" else [])]
                with pq.ParquetFile(piece.path) as file:
                    for at in range(file.num_row_groups):
                        table = file.read_row_group(at, columns=names, use_threads=False)
                        mine = table.filter(pa.array(theirs.mask(kind, table)))
                        indices = mine.column("index").to_pylist() if kind == "predictions" else None
                        theirs.add(mine.column("id").to_pylist(), indices)
                return
            mine = [row for _, row in _frames(kind, piece) if theirs.has(row)]
            theirs.add([row.id for row in mine], [row.index for row in mine if isinstance(row, PredictionRow)] or None)

    def _without(self, kind: Kind, piece: Piece, found: Layout, theirs: Theirs, left: Found) -> None:
        with self._damage(piece, left):
            if piece.archived:
                self._parquet(kind, piece, found.archives[piece.path.name], theirs)
            elif rows := sum(theirs.has(row) for _, row in _frames(kind, piece)):
                with contextlib.ExitStack() as opened:
                    fresh = self._began - piece.path.stat().st_mtime < QUIET_S
                    if fresh or lock_closed(piece.path, opened) is None:
                        left.open_rows += rows
                        left.open_files += 1
                        return
                    self._closed(kind, piece, theirs)

    @contextlib.contextmanager
    def _damage(self, piece: Piece, left: Found) -> Iterator[None]:
        """A file that cannot be read is named, and the others go on; one that retention took is gone anyway."""
        try:
            yield
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, msgspec.MsgspecError, pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and not is_damage(error):
                raise
            left.damaged.add(self._name(piece.path))

    def _parquet(self, kind: Kind, piece: Piece, said: Archive, theirs: Theirs) -> None:
        """A Parquet file without their rows; it still says which bytes of frame files it stands for."""
        with pq.ParquetFile(piece.path, page_checksum_verification=True) as file:
            names = ["id", "index"] if kind == "labels" else ["entity"]
            masks = [
                theirs.mask(kind, file.read_row_group(at, columns=names, use_threads=False))
                for at in range(file.num_row_groups)
            ]
            removed = sum(int(mask.sum()) for mask in masks)
            if not removed:
                return
            maker = ParquetMaker(piece.path.parent, kind, file.schema_arrow.remove_metadata())
            for at, mask in enumerate(masks):
                table = file.read_row_group(at, use_threads=False)
                kept = table.filter(pa.array(~mask)) if mask.any() else table
                if kept.num_rows:
                    maker.writer.write_table(kept)
        archive = Archive(said.sources, [piece.path.name])
        self._publish(kind, maker, archive, piece.path, removed)

    def _closed(self, kind: Kind, piece: Piece, theirs: Theirs) -> None:
        """A frame file, locked, as Parquet without their rows."""
        end, number, removed = piece.start, piece.rows, 0
        maker = ParquetMaker(piece.path.parent, kind)
        rows: list[Row] = []
        places: list[tuple[str, int]] = []
        for after, row in _frames(kind, piece):
            end = after
            if theirs.has(row):
                removed += 1
            else:
                rows.append(row)
                places.append((piece.path.stem, number))
            number += 1
            if len(rows) >= GROUP_ROWS:
                maker.writer.write_table(table_of(kind, rows, places))
                rows, places = [], []
        if rows:
            maker.writer.write_table(table_of(kind, rows, places))
        archive = Archive([Source(piece.path.name, end, number)])
        self._publish(kind, maker, archive, piece.path, removed)

    def _publish(self, kind: Kind, maker: ParquetMaker, archive: Archive, old: Path, removed: int) -> None:
        path = maker.seal(archive, old.stat().st_mtime_ns)
        self.written(path, kind, removed)
        maker.publish(path)
        remove(old.parent, [old])


def _frames(kind: Kind, piece: Piece) -> Iterator[tuple[int, Row]]:
    """(byte after it, row) of each whole frame that lies in no Parquet file yet. Raises ValueError, MsgspecError."""
    data = piece.path.read_bytes()
    decode = msgspec.msgpack.Decoder(_TYPES[kind]).decode
    for end, payload in read_rows(data, piece.start):
        yield end, decode(payload)
