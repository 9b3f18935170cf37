"""Packages that a monitor runs itself: in place where it sees their folder, else from a copy of its own."""

from __future__ import annotations

import os
from pathlib import Path

from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor
from serinus.package import MANIFEST, MAX_MANIFEST_BYTES, digest_of
from serinus.package_cache import PackageCache
from serinus.package_source import Source, source_of
from serinus.routes import PackageRef

__all__ = ["executor_of", "folder_of", "inputs_read"]

MAX_COPIES_BYTES = 8 << 30
"""Of packages that are not used in place; the one that was used longest ago goes first."""


def executor_of(ref: PackageRef) -> Executor:
    """The package, loaded, with one thread a graph, every file checked against the digest.

    Raises BadInput for a URI that cannot be read here, InvalidPackage when it is not that package."""
    return Executor(folder_of(ref))


def folder_of(ref: PackageRef) -> Path:
    """The package's folder, with the manifest that the digest names: in place, or a copy that was checked whole.

    In place, its other files are still to be checked. Raises what `executor_of` raises, OSError when its store is
    away."""
    source = _source(ref.uri)
    if not ref.uri.startswith("file://"):
        return PackageCache(_copies(), MAX_COPIES_BYTES, set).fetch(ref)[0]
    folder = Path(source.folder)
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


def _source(uri: str) -> Source:
    try:
        return source_of(uri)
    except InvalidPackage as error:
        raise BadInput(f"the package {uri!r} cannot be read by this monitor: {error.detail}") from error


def _copies() -> Path:
    """Where copies of packages lie that come from elsewhere."""
    told = os.environ.get("SERINUS_PACKAGE_CACHE")
    return Path(told) if told else Path(os.environ.get("SERINUS_HOME", ".serinus")) / "monitor" / "packages"
