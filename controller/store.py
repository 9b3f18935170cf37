"""The package store: each package by its digest, complete or not there at all; and the folder for work on uploads."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from controller.inspection import inspect
from controller.shelf import shelf_at
from controller.spool import Spool
from controller.unpack import unpack
from serinus.package import Manifest, digest_of
from serinus.package_api import package_uri

__all__ = ["PackageStore", "Parcel"]


class Parcel(NamedTuple):
    """A package that was found sound and is not stored yet."""

    folder: Path
    digest: str
    manifest: Manifest


class PackageStore:
    """Packages under `where`, a folder or an fsspec URI; uploads are worked on in `incoming`.

    `incoming`: by default a folder beside the packages; with a URI it must be told, and is of this controller alone.
    `by_api`: replicas and monitors read packages through the API, for they do not see `where`."""

    def __init__(self, where: str | Path, incoming: Path | None = None, *, by_api: bool = False) -> None:
        """Raises OSError, InvalidPackage for a URI that cannot be used, Unavailable when the store is away."""
        local = isinstance(where, Path) or "://" not in where
        self.root = Path(where) if local else Path(incoming or tempfile.gettempdir()).absolute()
        self.incoming = self.root / ".incoming"
        self.incoming.mkdir(parents=True, exist_ok=True)
        self.shelf = shelf_at(where, self.incoming)
        self.by_api = by_api
        self.spool = Spool(self.root / ".uploads")

    def uri(self, digest: str) -> str:
        """Where the others read the package: fsspec URI of its folder, or of what the API gives of it."""
        return package_uri(digest) if self.by_api else self.shelf.uri(digest)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder for one upload, gone afterwards whatever happens; a killed process's is swept at the next start."""
        work = Path(tempfile.mkdtemp(dir=self.incoming))
        try:
            with (work / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def examine(self, work: Path, accept: Callable[[Manifest], None]) -> Parcel:
        """Unpack and inspect the tar `work`/upload.tar. `accept` may refuse the manifest by raising.

        Raises InvalidPackage or TooLarge."""
        folder = work / "package"
        folder.mkdir()
        unpack(work / "upload.tar", folder)
        return self.examine_folder(folder, accept)

    def examine_folder(self, folder: Path, accept: Callable[[Manifest], None]) -> Parcel:
        """Inspect what is unpacked already. Raises InvalidPackage."""
        manifest = inspect(folder)
        accept(manifest)
        return Parcel(folder, digest_of(folder), manifest)

    def keep(self, parcel: Parcel) -> None:
        """Store it, whole or not at all. Its folder may be gone afterwards. The same package again is fine."""
        self.shelf.keep(parcel.folder, parcel.digest)

    def add(self, work: Path, accept: Callable[[Manifest], None]) -> tuple[str, Manifest]:
        """Check the tar `work`/upload.tar and store its package: (digest, manifest)."""
        parcel = self.examine(work, accept)
        self.keep(parcel)
        return parcel.digest, parcel.manifest

    def sweep(self) -> None:
        """Remove what uploads of killed processes left behind; uploads in pieces stay, to be gone on with."""
        for work in self.incoming.iterdir():
            with suppress(OSError), (work / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: its upload is still going on
                shutil.rmtree(work, ignore_errors=True)
