"""Packages that a monitor runs itself: in place, from a folder of this machine or of a volume that it shares."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor
from serinus.package import MANIFEST, MAX_MANIFEST_BYTES, digest_of
from serinus.routes import PackageRef

__all__ = ["executor_of", "folder_of", "inputs_read"]


def executor_of(ref: PackageRef) -> Executor:
    """The package, loaded, with one thread a graph, every file checked against the digest.

    Raises BadInput for a URI that cannot be read here, InvalidPackage when it is not that package."""
    return Executor(folder_of(ref))


def folder_of(ref: PackageRef) -> Path:
    """The package's folder, with the manifest that the digest names; its other files are still to be checked.

    Raises what `executor_of` raises."""
    folder = _folder(ref.uri)
    manifest = folder / MANIFEST
    if not manifest.is_file() or manifest.stat().st_size > MAX_MANIFEST_BYTES:
        raise InvalidPackage(f"there is no package at {ref.uri}")
    if (digest := digest_of(folder)) != ref.digest:
        raise InvalidPackage(f"the package at {ref.uri} has digest {digest[:12]}, expected {ref.digest[:12]}")
    return folder


def inputs_read(executor: Executor, tasks: tuple[str, ...]) -> frozenset[str]:
    """Raw inputs that some part on the way to these tasks reads."""
    raw = {spec.name for spec in executor.manifest.inputs}
    return frozenset(name for part in executor.manifest.plan(tasks) for name in part.inputs if name in raw)


def _folder(uri: str) -> Path:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    local = parts.scheme == "file" and parts.netloc in ("", "localhost") and not parts.query and not parts.fragment
    if not local or not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise BadInput(f"the package {uri!r} cannot be read by this monitor, only file:///ABSOLUTE/FOLDER")
    return path
