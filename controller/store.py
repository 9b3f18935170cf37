"""The package store: one folder a package, named by its digest, complete or not there at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from controller.inspection import inspect
from controller.unpack import unpack
from serinus.package import Manifest, digest_of

__all__ = ["PackageStore"]


class PackageStore:
    """Packages under `root`; uploads are worked on in `root`/.incoming, on the same file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / ".incoming"
        self.incoming.mkdir(parents=True, exist_ok=True)

    def uri(self, digest: str) -> str:
        """fsspec URI of the package's folder."""
        return (self.root / digest).as_uri()

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

    def add(self, work: Path, accept: Callable[[Manifest], None]) -> tuple[str, Manifest]:
        """Check the tar `work`/upload.tar and store its package: (digest, manifest). The same package again is fine.

        `accept` may refuse the manifest by raising. Raises InvalidPackage or TooLarge; then nothing is stored."""
        folder = work / "package"
        folder.mkdir()
        unpack(work / "upload.tar", folder)
        manifest = inspect(folder)
        accept(manifest)
        digest = digest_of(folder)
        final = self.root / digest
        try:
            folder.rename(final)
        except OSError:
            if not final.is_dir():  # else: it is there already, and by its digest the same
                raise
        _sync(self.root)
        return digest, manifest

    def sweep(self) -> None:
        """Remove what uploads of killed processes left behind."""
        for work in self.incoming.iterdir():
            with suppress(OSError), (work / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: its upload is still going on
                shutil.rmtree(work, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
