"""Where packages lie, each in a folder named by its digest: in a folder of this machine, or in any fsspec store.

A package is there when its manifest is: in a store it is written last and removed first."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from controller.unpack import MAX_BYTES
from serinus.errors import InvalidPackage, NotFound, TooLarge, Unavailable
from serinus.package import MANIFEST, digest_of, read_manifest
from serinus.package_source import copy_file, digest_at, manifest_at, source_of
from serinus.routes import PackageRef

__all__ = ["LocalShelf", "RemoteShelf", "Shelf", "fetch_package", "shelf_at"]

DIGEST = re.compile(r"[0-9a-f]{64}")


class Shelf(Protocol):
    def uri(self, digest: str) -> str:
        """fsspec URI of the package's folder."""

    def keep(self, folder: Path, digest: str) -> None:
        """Store the package in `folder`, which may be moved away. What is there already, but damaged, is replaced."""

    def digests(self) -> set[str]:
        """Of everything that is stored, also of what is not whole."""

    def remove(self, digest: str) -> None:
        """Nothing happens where there is no such package."""

    def fetch(self, digest: str, folder: Path) -> None:
        """Copy the package into an empty folder, every file checked. Raises InvalidPackage, NotFound, Unavailable."""


class LocalShelf:
    """`aside`: a folder on the same file system, for what is being removed."""

    def __init__(self, root: Path, aside: Path) -> None:
        self.root, self.aside = root, aside

    def uri(self, digest: str) -> str:
        return (self.root / digest).as_uri()

    def keep(self, folder: Path, digest: str) -> None:
        final = self.root / digest
        try:
            folder.rename(final)
        except OSError:
            if not final.is_dir():
                raise
            if not _whole(final, digest):
                self.remove(digest)
                folder.rename(final)
        _sync(self.root)

    def digests(self) -> set[str]:
        return {path.name for path in self.root.iterdir() if DIGEST.fullmatch(path.name)}

    def remove(self, digest: str) -> None:
        grave = Path(tempfile.mkdtemp(dir=self.aside))
        with suppress(FileNotFoundError):
            (self.root / digest).rename(grave / digest)
            _sync(self.root)
        shutil.rmtree(grave, ignore_errors=True)

    def fetch(self, digest: str, folder: Path) -> None:
        _fetch(self.uri(digest), digest, folder)


class RemoteShelf:
    def __init__(self, uri: str) -> None:
        """Raises InvalidPackage for a URI that cannot be used here, Unavailable when the store is away."""
        self.base = uri.rstrip("/")
        source = source_of(self.base)
        self.files: Any = source.files
        self.folder = source.folder
        self._call(self.files.makedirs, self.folder, exist_ok=True)

    def uri(self, digest: str) -> str:
        return f"{self.base}/{digest}"

    def keep(self, folder: Path, digest: str) -> None:
        if self._whole(folder, digest):
            return
        at = f"{self.folder}/{digest}"
        self._call(self.files.rm_file, f"{at}/{MANIFEST}", missing=True)
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        for name in sorted(names, key=lambda name: name == MANIFEST):
            self._call(self.files.makedirs, f"{at}/{name}".rpartition("/")[0], exist_ok=True)
            self._call(self.files.put_file, str(folder / name), f"{at}/{name}")

    def digests(self) -> set[str]:
        self._call(self.files.invalidate_cache)
        found = self._call(self.files.ls, self.folder, detail=False, missing=True) or []
        names = {str(path).rstrip("/").rpartition("/")[2] for path in found}
        return {name for name in names if DIGEST.fullmatch(name)}

    def remove(self, digest: str) -> None:
        at = f"{self.folder}/{digest}"
        self._call(self.files.rm_file, f"{at}/{MANIFEST}", missing=True)
        self._call(self.files.invalidate_cache)
        self._call(self.files.rm, at, recursive=True, missing=True)

    def fetch(self, digest: str, folder: Path) -> None:
        _fetch(self.uri(digest), digest, folder)

    def _whole(self, folder: Path, digest: str) -> bool:
        """Whether the store has the package that lies in `folder`: its manifest, and every file in its length."""
        at = f"{self.folder}/{digest}"
        self._call(self.files.invalidate_cache)
        if self._call(self.files.cat_file, f"{at}/{MANIFEST}", missing=True) != (folder / MANIFEST).read_bytes():
            return False
        found = self._call(self.files.find, at, detail=True, missing=True) or {}
        sizes = {str(path).rstrip("/").removeprefix(at + "/"): told["size"] for path, told in found.items()}
        return all(sizes.get(p.relative_to(folder).as_posix()) == p.stat().st_size for p in _files(folder))

    def _call(self, method: Any, *arguments: Any, missing: bool = False, **options: Any) -> Any:
        """None where there is nothing, if `missing` is fine. A store that is away raises Unavailable."""
        try:
            return method(*arguments, **options)
        except FileNotFoundError as error:
            if missing:
                return None
            raise Unavailable(f"the package store {self.base} lost a file: {error}") from error
        except Exception as error:  # drivers of stores raise classes of their own, without a common base
            why = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise Unavailable(f"the package store {self.base} does not answer: {why}") from error


def shelf_at(where: str | Path, aside: Path) -> Shelf:
    """`where`: a folder, or an fsspec URI. Raises InvalidPackage, Unavailable, OSError."""
    if isinstance(where, str) and "://" in where:
        if not where.startswith("file://"):
            return RemoteShelf(where)
        where = source_of(where).folder
    root = Path(where)
    root.mkdir(parents=True, exist_ok=True)
    return LocalShelf(root, aside)


def fetch_package(uri: str, digest: str | None, folder: Path) -> None:
    """Copy a package into an empty folder, every file checked, no more of it than may be pushed.

    `digest`: None: whatever lies there. Raises InvalidPackage, NotFound, TooLarge, Unavailable."""
    try:
        source, manifest, raw = manifest_at(PackageRef(digest=digest or digest_at(uri), uri=uri))
        if sum(entry.size_bytes for entry in manifest.files.values()) > MAX_BYTES:
            raise TooLarge(f"the package at {uri} is larger than {MAX_BYTES} bytes")
        for name, entry in manifest.files.items():
            copy_file(source, name, entry, folder / name)
    except FileNotFoundError as error:
        raise NotFound(f"there is no package at {uri}", "name the folder that holds its manifest.json") from error
    except OSError as error:
        raise Unavailable(f"the package at {uri} cannot be read: {error}") from error
    (folder / MANIFEST).write_bytes(raw)


def _fetch(uri: str, digest: str, folder: Path) -> None:
    try:
        fetch_package(uri, digest, folder)
    except NotFound as error:
        raise NotFound(f"the package {digest[:12]} is not in the store", "push it again") from error


def _whole(folder: Path, digest: str) -> bool:
    try:
        return digest_of(folder) == digest and bool(read_manifest(folder))
    except (InvalidPackage, OSError):
        return False


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
