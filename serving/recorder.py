"""Append-only writer of one kind of log, by model and hour. Format: `serinus.records`."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from serinus.archive_files import sync_folder
from serinus.records import MAGIC, Kind, hour_of, log_folder

HOUR_MS = 3_600_000
CLOSE_AFTER_S = 300.0
"""A file that was not appended to for so long is closed; the next row of its hour may begin another one."""
REMEMBERED = 65_536


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
    used: float = field(default_factory=time.monotonic)


class LogWriter:
    """One writer's files; used by one thread at a time.

    A row is one append, so a killed process leaves at most a torn last frame; a write that the disk cut short is
    taken back, so that nothing after it is hidden. `writer` must be unique per process start. While a file is open it
    is locked (shared) against those who would move its rows elsewhere and remove it (`serving.compact`); they do so
    once it is closed. A name is never used for two files."""

    def __init__(self, root: Path, kind: Kind, writer: str, max_open: int = 64) -> None:
        self._root, self._kind, self._writer, self._max_open = root, kind, writer, max_open
        self._files: OrderedDict[tuple[str, str], _File] = OrderedDict()
        self._numbers: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._spoilt: set[tuple[str, str]] = set()
        self._fresh = 0

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

    def close_idle(self, seconds: float) -> None:
        """Close the files that were not appended to for so long. Raises OSError."""
        before = time.monotonic() - seconds
        while self._files and next(iter(self._files.values())).used < before:
            self._close_oldest()

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

    def _close_oldest(self) -> None:
        oldest, file = next(iter(self._files.items()))
        if file.dirty and self._kind == "labels":
            self._sync(oldest, file)
        os.close(self._files.pop(oldest).fd)

    def _open(self, model: str, hour: str) -> _File:
        key = (model, hour)
        if file := self._files.get(key):
            self._files.move_to_end(key)
            file.used = time.monotonic()
            return file
        while len(self._files) >= self._max_open:
            self._close_oldest()
        self.close_idle(CLOSE_AFTER_S)
        folder = log_folder(self._root, self._kind, model, hour)
        make_folder(folder)
        file = self._again(folder, key) or self._begin(folder, key)
        self._files[key] = file
        return file

    def _path(self, folder: Path, number: int) -> Path:
        return folder / (f"{self._writer}-{number}.log" if number else f"{self._writer}.log")

    def _again(self, folder: Path, key: tuple[str, str]) -> _File | None:
        """The file that was closed for want of room; None when there is none, or it was or is being compacted."""
        number = self._numbers.get(key)
        if number is None or key in self._spoilt:
            return None
        try:
            fd = os.open(self._path(folder, number), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            there = os.fstat(fd)
            if there.st_nlink and there.st_size >= len(MAGIC):
                return _File(fd, there.st_size)
        except OSError:  # it is locked by who compacts it
            pass
        os.close(fd)
        return None

    def _begin(self, folder: Path, key: tuple[str, str]) -> _File:
        """A file of a name that this writer never used: numbers of folders that it forgot are not given again."""
        number = self._numbers.get(key, self._fresh - 1) + 1
        self._remember(key, number)
        path = self._path(folder, number)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            size = os.write(fd, MAGIC)
            if size != len(MAGIC):
                raise OSError(f"{path} cannot be begun")
            sync_folder(folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        self._spoilt.discard(key)
        return _File(fd, size)

    def _remember(self, key: tuple[str, str], number: int) -> None:
        self._numbers[key] = number
        self._numbers.move_to_end(key)
        if len(self._numbers) > REMEMBERED:
            self._fresh = max(self._fresh, self._numbers.popitem(last=False)[1] + 1)

    def _take_back(self, model: str, hour: str, file: _File) -> None:
        try:
            os.ftruncate(file.fd, file.size)
        except OSError:
            self._abandon((model, hour))

    def _abandon(self, key: tuple[str, str]) -> None:
        """Never write to that file again."""
        os.close(self._files.pop(key).fd)
        self._spoilt.add(key)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they survive a crash: each parent is fsynced. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "there is a file in the place of a folder", str(folder)) from error
    sync_folder(folder.parent)


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
