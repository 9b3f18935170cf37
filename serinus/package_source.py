"""Packages where others keep them: any fsspec URI. What comes from there is bounded and checked while it is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import fsspec

from serinus.errors import InvalidPackage
from serinus.package import MANIFEST, MAX_FILES, MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from serinus.package_api import ApiFiles
from serinus.routes import PackageRef

__all__ = ["SCHEMES", "Source", "copy_file", "digest_at", "manifest_at", "source_of"]

SCHEMES = ("file", "memory", "s3", "gs", "az", "abfs", "serinus")
"""Of fsspec's file systems, those that only read what they are asked for: no archives, chains or caches; and the
controller, which gives what it keeps."""
CHUNK = 1 << 20


class Source(NamedTuple):
    """A folder of an fsspec file system."""

    files: Any
    folder: str


def source_of(uri: str) -> Source:
    """The folder that a URI names. Raises InvalidPackage when it names none, or its driver is not installed."""
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES or not rest or re.search(r"::|[?#\\\0]", uri) or ".." in unquote(rest).split("/"):
        raise InvalidPackage(f"the package's URI is {uri!r}, expected a folder by {', '.join(SCHEMES)}://")
    try:
        if scheme == "serinus":
            return Source(ApiFiles(), rest.rstrip("/"))
        if scheme == "file":
            return Source(fsspec.filesystem("file"), _local(uri))
        files, folder = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        raise InvalidPackage(f"{scheme}:// cannot be read here: {error}") from error
    return Source(files, folder.rstrip("/"))


def manifest_at(ref: PackageRef) -> tuple[Source, Manifest, bytes]:
    """Where the package is, its manifest, and the manifest's bytes. Raises InvalidPackage, OSError."""
    source = source_of(ref.uri)
    raw = _manifest_bytes(source)
    if (digest := hashlib.sha256(raw).hexdigest()) != ref.digest:
        raise InvalidPackage(f"the package at {ref.uri} has digest {digest[:12]}, expected {ref.digest[:12]}")
    manifest = parse_manifest(raw)
    if len(manifest.files) > MAX_FILES:
        raise InvalidPackage(f"the package has more than {MAX_FILES} files")
    return source, manifest, raw


def digest_at(uri: str) -> str:
    """The digest of whatever package lies at a URI. Raises InvalidPackage, OSError."""
    return hashlib.sha256(_manifest_bytes(source_of(uri))).hexdigest()


def _manifest_bytes(source: Source) -> bytes:
    raw = bytearray()
    with _open(source, MANIFEST) as file:
        while len(raw) <= MAX_MANIFEST_BYTES and (piece := file.read(MAX_MANIFEST_BYTES + 1 - len(raw))):
            raw += piece
    if len(raw) > MAX_MANIFEST_BYTES:
        raise InvalidPackage(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
    return bytes(raw)


def copy_file(source: Source, name: str, entry: FileEntry, target: Path) -> None:
    """Copy one file, never more than the manifest says. Raises InvalidPackage when it is not that file, OSError."""
    digest, left = hashlib.sha256(), entry.size_bytes
    target.parent.mkdir(exist_ok=True)
    with _open(source, name) as file, target.open("wb") as copy:
        while data := file.read(min(CHUNK, left + 1)):
            left -= len(data)
            if left < 0:
                break
            digest.update(data)
            copy.write(data)
    if left or digest.hexdigest() != entry.sha256:
        raise InvalidPackage(f"{name} was altered: its SHA-256 is not the manifest's")


@contextmanager
def _open(source: Source, name: str) -> Iterator[Any]:
    """One file. A store that is away raises OSError, whatever its driver raises."""
    try:
        with source.files.open(f"{source.folder}/{name}", "rb") as file:
            yield file
    except (OSError, InvalidPackage):
        raise
    except Exception as error:  # drivers of stores raise classes of their own, without a common base
        raise OSError(f"{name} cannot be read: {error}") from error


def _local(uri: str) -> str:
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise InvalidPackage(f"the package's URI is {uri!r}, expected a folder by file:///absolute/path")
    return path.rstrip("/")
