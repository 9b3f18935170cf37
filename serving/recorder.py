"""Append-only writer of one kind of log, by model and hour. Format: `serinus.records`."""

from __future__ import annotations

import functools
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serinus.records import MAGIC, hour_of, log_folder

HOUR_MS = 3_600_000


def partition_of(event_ms: int) -> str:
    """`hour_of`, remembered: the partition of an event time in Unix milliseconds."""
    return _partition(event_ms // HOUR_MS)


@functools.lru_cache(maxsize=4096)
def _partition(hours: int) -> str:
    return hour_of(hours * HOUR_MS)


@dataclass(slots=True)
class _File:
    fd: int
    size: int
    dirty: bool = False


class LogWriter:
    """One writer's files; used by one thread at a time.

    A row is one append, so a killed process leaves at most a torn last frame; a write that the disk cut short is
    taken back, so that nothing after it is hidden. `writer` must be unique per process start."""

    def __init__(self, root: Path, kind: Literal["predictions", "labels"], writer: str, max_open: int = 64) -> None:
        self._root, self._kind, self._writer, self._max_open = root, kind, writer, max_open
        self._files: OrderedDict[tuple[str, str], _File] = OrderedDict()
        self._spoilt: dict[tuple[str, str], int] = {}

    def append(self, model: str, hour: str, frames: bytes) -> None:
        """Append whole frames by one write; they are in the page cache when it returns. Raises OSError."""
        file = self._open(model, hour)
        try:
            written = os.write(file.fd, frames)
            if written != len(frames):
                raise OSError(f"only {written} of {len(frames)} bytes could be written")
        except OSError:
            self._take_back(model, hour, file)
            raise
        file.size += written
        file.dirty = True

    def sync(self) -> None:
        """Fsync every file that was appended to since the last call. Raises OSError; then nothing may be promised."""
        for key, file in list(self._files.items()):
            if file.dirty:
                self._sync(key, file)

    def close(self) -> None:
        for file in self._files.values():
            os.close(file.fd)
        self._files.clear()

    def _sync(self, key: tuple[str, str], file: _File) -> None:
        try:
            os.fsync(file.fd)
        except OSError:  # the kernel may have dropped the pages and say yes the next time: begin another file
            self._abandon(key)
            raise
        file.dirty = False

    def _open(self, model: str, hour: str) -> _File:
        key = (model, hour)
        if file := self._files.get(key):
            self._files.move_to_end(key)
            return file
        while len(self._files) >= self._max_open:
            oldest, file = next(iter(self._files.items()))
            if file.dirty and self._kind == "labels":
                self._sync(oldest, file)
            os.close(self._files.pop(oldest).fd)
        folder = log_folder(self._root, self._kind, model, hour)
        make_folder(folder)
        spoilt = self._spoilt.get(key, 0)
        path = folder / (f"{self._writer}-{spoilt}.log" if spoilt else f"{self._writer}.log")
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                size = os.write(fd, MAGIC)
                if size != len(MAGIC):
                    os.ftruncate(fd, 0)
                    raise OSError(f"{path} cannot be begun")
                sync_folder(folder)
        except OSError:
            os.close(fd)
            raise
        self._files[key] = _File(fd, size)
        return self._files[key]

    def _take_back(self, model: str, hour: str, file: _File) -> None:
        try:
            os.ftruncate(file.fd, file.size)
        except OSError:
            self._abandon((model, hour))

    def _abandon(self, key: tuple[str, str]) -> None:
        os.close(self._files.pop(key).fd)
        self._spoilt[key] = self._spoilt.get(key, 0) + 1


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a crash: each parent is fsynced. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Fsync a folder's entries. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, durable: bool) -> None:
    """Replace a file as a whole; readers see the old or the new one. `durable`: fsynced first. Raises OSError."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
    if durable:
        sync_folder(path.parent)
