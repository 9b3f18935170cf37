"""Which predictions are in the log: a bounded cache of request ids, read as the log grows."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

import msgspec

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
    """Ids of one model and hour: id -> rows of the request. `read_to`: file name -> bytes read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[bytes, int] = {}
        self.read_to: dict[str, int] = {}

    def refresh(self) -> None:
        for path in self.folder.glob("*.log"):
            start = self.read_to.get(path.name, 0)
            if start < 0:
                continue
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
