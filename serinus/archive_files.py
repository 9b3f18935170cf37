"""How a Parquet file of a log comes to be and others go, so that a kill at any moment neither loses nor doubles a row.

A file is written under a hidden name, synced, renamed to a name that was never used; only then do those go that it
stands for. Who does so is alone with the logs: it holds their lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from serinus.archive import Archive, crc_of, layout, metadata
from serinus.archive_rows import parquet_options, schema
from serinus.ids import uuid7
from serinus.records import Kind

__all__ = ["ParquetMaker", "alone", "lock_closed", "remove", "sync_folder", "tidy"]

HIDDEN = "compacting"


@contextlib.contextmanager
def alone(root: Path) -> Iterator[bool]:
    """Hold the lock of these logs; False when another does."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".compact.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def tidy(folder: Path) -> None:
    """Take away what somebody who was killed has left: half files, and Parquet files that others replace."""
    found = layout(folder)
    kept = {*found.archives, *(path.name for path in found.broken)}  # the broken ones are for people to look at
    replaced = {name for name in found.names if name.endswith(".parquet")} - kept
    remove(folder, [*folder.glob(f".*.{HIDDEN}"), *(folder / name for name in replaced)])


def lock_closed(path: Path, opened: contextlib.ExitStack) -> int | None:
    """A frame file that nobody writes to any more, locked until `opened` is closed; None: its writer has it open.

    Raises FileNotFoundError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return fd


def remove(folder: Path, paths: Iterable[Path]) -> None:
    """Raises FileNotFoundError."""
    gone = list(paths)
    for path in gone:
        path.unlink()
    if gone:
        sync_folder(folder)


class ParquetMaker:
    """A Parquet file in the making. `shape`: its Arrow schema, where it is not today's. Call `write_table` of `writer`,
    then `seal`, then `publish`."""

    def __init__(self, folder: Path, kind: Kind, shape: Any = None) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 (only rooms have it)

        self.folder = folder
        self._path = folder / f".{uuid7(time.time_ns() // 1_000_000).hex}.{HIDDEN}"
        self.writer = pq.ParquetWriter(self._path, shape or schema(kind), **parquet_options(kind))

    def seal(self, archive: Archive, newest_ns: int) -> Path:
        """End and sync the file; the path that it will have. `newest_ns`: when the youngest of its rows was written."""
        self.writer.add_key_value_metadata(metadata(archive))
        self.writer.close()
        os.utime(self._path, ns=(newest_ns, newest_ns))
        fd = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        name = self._path.name[1:].removesuffix(f".{HIDDEN}")
        return self.folder / f"{name}-{crc_of(self._path)}.parquet"

    def publish(self, path: Path) -> None:
        """Put the file where readers see it: from now on it stands for its sources, and for what it replaces."""
        self._path.rename(path)
        sync_folder(self.folder)


def sync_folder(folder: Path) -> None:
    """Fsync a folder's entries. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
