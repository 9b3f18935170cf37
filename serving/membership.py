"""Which predictions are in the log: a bounded cache of request ids, read as the log grows."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

import msgspec

from serinus.archive import Piece, read_whole
from serinus.records import log_folder, read_rows

log = logging.getLogger(__name__)
MAX_IDS = 500_000
"""About 80 MB; a label whose partition fell out costs reading that partition again."""


class _Key(msgspec.Struct, array_like=True):
    """The first two fields of a PredictionRow; the others are skipped."""

    id: bytes
    index: int


_decoder = msgspec.msgpack.Decoder(_Key)


class _Partition:
    """Ids of one model and hour: id -> rows of the request. `read_to`: file name -> bytes read, -1: all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[bytes, int] = {}
        self.read_to: dict[str, int] = {}

    def refresh(self) -> None:
        """Read what came since the last time, frames or Parquet. Raises OSError."""
        read_whole(self.folder, self._read)

    def _read(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            start = self.read_to.get(piece.path.name, piece.start)
            if start >= 0 and piece.archived:
                self._unpack(piece.path)
            elif start >= 0:
                self._read_on(piece.path, start)

    def _unpack(self, path: Path) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 (young hours have none)

        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id", "index"]):
                for identity, index in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    self.rows[identity] = max(self.rows.get(identity, 0), index + 1)
        self.read_to[path.name] = -1

    def _read_on(self, path: Path, start: int) -> None:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        shift = 1 if start else 0  # read_rows expects the magic line at byte 0 and nowhere else
        try:
            for end, payload in read_rows(b"\0" * shift + data, shift):
                key = _decoder.decode(payload)
                self.rows[key.id] = max(self.rows.get(key.id, 0), key.index + 1)
                self.read_to[path.name] = start + end - shift
        except (ValueError, msgspec.DecodeError) as error:
            log.error("%s is damaged after byte %d: %s", path, self.read_to.get(path.name, 0), error)
            self.read_to[path.name] = -1


class Membership:
    """Used by one thread at a time."""

    def __init__(self, root: Path, max_ids: int = MAX_IDS) -> None:
        self._root, self._max_ids = root, max_ids
        self._partitions: OrderedDict[tuple[str, str], _Partition] = OrderedDict()

    def rows_of(self, model: str, hour: str, request_id: bytes, fresh: set[tuple[str, str]]) -> int:
        """How many rows that request has in the log of its hour; 0 when it is unknown.

        Looks at the disk only when the id is not in the cache, and once per `fresh`: the partitions that the caller
        has had looked at already. Raises OSError."""
        key = (model, hour)
        partition = self._partitions.get(key)
        if partition is None:
            partition = self._partitions[key] = _Partition(log_folder(self._root, "predictions", model, hour))
        self._partitions.move_to_end(key)
        if request_id not in partition.rows and key not in fresh:
            fresh.add(key)
            partition.refresh()
            self._shrink()
        return partition.rows.get(request_id, 0)

    def _shrink(self) -> None:
        while len(self._partitions) > 1 and sum(len(p.rows) for p in self._partitions.values()) > self._max_ids:
            self._partitions.popitem(last=False)
