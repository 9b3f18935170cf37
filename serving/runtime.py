"""From a package's address to an engine that may be routed to."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serinus.errors import InvalidPackage
from serinus.package import Manifest, digest_of, read_manifest
from serinus.package_cache import PackageCache
from serinus.package_source import source_of
from serinus.routes import PackageRef
from serving.engine import Engine
from serving.memory import refuse_if_too_large
from serving.process import process
from serving.settings import Settings

NICENESS = 10
"""Of the thread that loads: who answers requests beside it has ten times its share of the CPU."""


class Loader:
    """Fetches packages and makes engines of them. Both take from milliseconds to seconds, in threads of their own:

    one that loads, at low priority, and two that fetch, so that a store that hangs keeps back nothing that is here."""

    def __init__(self, settings: Settings, named: Callable[[], set[str]]) -> None:
        process()  # its threads are to have this thread's priority, not that of the one that loads
        self._reserve = settings.memory_reserve_bytes
        self._cache = PackageCache(settings.package_cache, settings.package_cache_bytes, named)
        self.fetching = ThreadPoolExecutor(2, thread_name_prefix="fetch", initializer=_be_nice)
        self.loading = ThreadPoolExecutor(1, thread_name_prefix="load", initializer=_be_nice)

    def fetch(self, ref: PackageRef) -> tuple[Path, Manifest]:
        """The package's folder here, checked whole. Raises InvalidPackage, OSError."""
        return self._cache.fetch(ref)

    def load(self, digest: str, folder: Path, manifest: Manifest) -> Engine:
        """An engine that has given its own sample's answers and is warm. Raises InvalidPackage."""
        refuse_if_too_large(manifest, self._reserve)
        return ready(Engine(folder, manifest, digest))

    def close(self) -> None:
        for threads in (self.fetching, self.loading):
            threads.shutdown(wait=False, cancel_futures=True)


def load(ref: PackageRef) -> Engine:
    """The engine of a package that lies in a folder of this machine, used where it is. Raises InvalidPackage."""
    folder = Path(source_of(ref.uri).folder)
    manifest = read_manifest(folder)
    if (digest := digest_of(folder)) != ref.digest:
        raise InvalidPackage(f"the package at {ref.uri} has digest {digest[:12]}, expected {ref.digest[:12]}")
    return ready(Engine(folder, manifest, digest))


def ready(engine: Engine) -> Engine:
    """The engine, once it has given its own sample's answers and is warm. Raises InvalidPackage."""
    engine.check_sample()
    engine.warm_up()
    return engine


def _be_nice() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
