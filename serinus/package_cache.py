"""The pool's own copies of packages: fetched once, checked, shared by its processes, bounded in bytes.

A replica that starts while the package store is gone loads what its tables name from here."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from serinus.errors import InvalidPackage
from serinus.package import MANIFEST, Manifest, digest_of, read_manifest
from serinus.package_source import copy_file, manifest_at
from serinus.routes import PackageRef

__all__ = ["PackageCache"]

log = logging.getLogger(__name__)
DIGEST = re.compile(r"[0-9a-f]{64}")
YOUNG_S = 60.0
"""A package that was used this lately stays: a process that shares the folder may be about to load it."""


class PackageCache:
    """ROOT/DIGEST is a whole package or not there at all. Several processes may use one folder.

    `named()`: the digests that a route table of this pool names; they are never evicted."""

    def __init__(self, root: Path, max_bytes: int, named: Callable[[], set[str]]) -> None:
        self._root, self._max_bytes, self._named = root, max_bytes, named

    def fetch(self, ref: PackageRef) -> tuple[Path, Manifest]:
        """The folder of that package, checked whole, fetched if need be. Blocks: not for an event loop.

        Raises InvalidPackage when it is not what the digest says or does not fit, OSError when it cannot be had."""
        if not DIGEST.fullmatch(ref.digest):
            raise InvalidPackage(f"{ref.digest!r} is no digest of a package")
        folder = self._root / ref.digest
        with self._lock(ref.digest):
            manifest = self._kept(folder, ref.digest)
            if manifest is None:
                manifest = self._fetch(ref, folder)
            os.utime(folder)
        return folder, manifest

    def _kept(self, folder: Path, digest: str) -> Manifest | None:
        """The manifest of what is here already; what was damaged is removed."""
        if not folder.is_dir():
            return None
        try:
            manifest = read_manifest(folder)
            if digest_of(folder) == digest:
                return manifest
            log.warning("the copy of package %s has another digest and is fetched again", digest[:12])
        except InvalidPackage as error:
            log.warning("the copy of package %s is fetched again: %s", digest[:12], error)
        shutil.rmtree(folder)
        return None

    def _fetch(self, ref: PackageRef, folder: Path) -> Manifest:
        aside = self._root / f".{ref.digest}"
        shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed: the lock is ours
        source, manifest, raw = manifest_at(ref)
        size = len(raw) + sum(entry.size_bytes for entry in manifest.files.values())
        with self._lock("evict"):
            self._make_room(size)
        try:
            aside.mkdir()
            for name, entry in manifest.files.items():
                copy_file(source, name, entry, aside / name)
            (aside / MANIFEST).write_bytes(raw)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return manifest

    def _make_room(self, size: int) -> None:
        """Remove what no table names, the least lately used first. Raises InvalidPackage when that is not enough."""
        packages = {folder: _bytes(folder) for folder in self._root.glob("*") if DIGEST.fullmatch(folder.name)}
        over = sum(packages.values()) + size - self._max_bytes
        if over > 0:
            named = self._named()
            idle = {f: _used_at(f) for f in packages if f.name not in named and _used_at(f) < time.time() - YOUNG_S}
            for folder in sorted(idle, key=lambda f: idle[f]):
                if over <= 0:
                    break
                grave = folder.with_name(f".{folder.name}.gone")
                with contextlib.suppress(OSError):  # another process removes it, too
                    folder.rename(grave)
                    over -= packages[folder]
                shutil.rmtree(grave, ignore_errors=True)
        if over > 0:
            kept = sum(packages.values())
            raise InvalidPackage(
                f"it has {size} bytes and the packages that are in use {kept}, of {self._max_bytes} in all",
                "raise SERINUS_PACKAGE_CACHE_MB, or serve fewer versions",
            )
        if (free := shutil.disk_usage(self._root).free) < size:
            raise OSError(f"the package has {size} bytes, the disk of {self._root} has {free} left")

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        folder = self._root / ".locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _used_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
