"""From a package's address to an engine that may be routed to."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from serinus.errors import InvalidPackage
from serinus.package import digest_of, read_manifest
from serinus.routes import PackageRef
from serving.engine import Engine


def folder_of(uri: str) -> Path:
    """The local folder that a `file://` URI names. Raises InvalidPackage when it names none."""
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not path.is_absolute() or ".." in path.parts:
        raise InvalidPackage(f"the package's URI is {uri!r}, expected file:///absolute/folder")
    return path


def load(ref: PackageRef) -> Engine:
    """Load a package, checked: digest, every file, its own sample; then warm. Raises InvalidPackage.

    Takes from milliseconds to seconds: not for an event loop."""
    folder = folder_of(ref.uri)
    manifest = read_manifest(folder)
    if (digest := digest_of(folder)) != ref.digest:
        raise InvalidPackage(f"the package at {ref.uri} has digest {digest[:12]}, expected {ref.digest[:12]}")
    engine = Engine(folder, manifest, ref.digest)
    engine.check_sample()
    engine.warm_up()
    return engine
