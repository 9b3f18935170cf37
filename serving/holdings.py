"""What one replica holds of the packages that its route tables name: fetched, loaded, or failed and why."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

from serinus.errors import SerinusError
from serinus.package import Manifest
from serinus.routes import PackageRef
from serving.engine import Engine
from serving.runtime import Loader

log = logging.getLogger(__name__)
RETRY_LOAD_S = 30.0


class Holdings:
    """`engines`: digest -> engine, all that is loaded. `manifests`: digest -> manifest, all that lies on the disk here.

    Used on one event loop; `changed()` is called there when something was added or failed."""

    def __init__(self, loader: Loader, changed: Callable[[], None]) -> None:
        self._loader, self._changed = loader, changed
        self.engines: dict[str, Engine] = {}
        self.manifests: dict[str, Manifest] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._load: dict[str, PackageRef] = {}

    @property
    def failed(self) -> dict[str, str]:
        """digest -> why it cannot be fetched or loaded; it is tried again after a while."""
        return {digest: why for digest, (why, _at) in self._failed.items()}

    def want(self, load: Mapping[str, PackageRef], know: Mapping[str, PackageRef]) -> None:
        """Load these, in their order, and fetch those; drop whatever is in neither."""
        self._load = dict(load)
        both = {**load, **know}
        for digest in [digest for digest in self.engines if digest not in load]:
            self._let_go(self.engines.pop(digest))
        self.manifests = {digest: known for digest, known in self.manifests.items() if digest in both}
        self._failed = {digest: failed for digest, failed in self._failed.items() if digest in both}
        for digest, ref in both.items():
            have = digest in self.engines or (digest in self.manifests and digest not in load)
            if not have and digest not in self._working and digest not in self._failed:
                self._working[digest] = asyncio.create_task(self._work(ref))

    def fail(self, digest: str, why: str) -> None:
        """This package is of no use, and trying again would not help."""
        self._failed[digest] = (why, float("inf"))

    async def retry_failed(self) -> None:
        """For ever: a store that was away for a moment must not keep a version out for good."""
        while True:
            await asyncio.sleep(1.0)
            due = [digest for digest, (_why, at) in self._failed.items() if time.monotonic() >= at]
            for digest in due:
                del self._failed[digest]
            if due:
                self._changed()

    def close(self) -> None:
        self._loader.close()

    async def _work(self, ref: PackageRef) -> None:
        loop, digest = asyncio.get_running_loop(), ref.digest
        try:
            folder, manifest = await loop.run_in_executor(self._loader.fetching, self._loader.fetch, ref)
            self.manifests[digest] = manifest
            if digest in self._load:
                given = (digest, folder, manifest)
                self.engines[digest] = await loop.run_in_executor(self._loader.loading, self._loader.load, *given)
        except (SerinusError, OSError) as error:
            log.warning("package %s cannot be loaded: %s", digest[:12], error)
            self._failed[digest] = (str(error)[:500], time.monotonic() + RETRY_LOAD_S)
        except Exception as error:
            log.exception("package %s cannot be loaded", digest[:12])
            self._failed[digest] = (f"{type(error).__name__}: {error}"[:500], time.monotonic() + RETRY_LOAD_S)
        finally:
            self._working.pop(digest, None)
        self._changed()

    def _let_go(self, engine: Engine) -> None:
        """Its memory is given back in the thread that loads: that of a large model takes milliseconds."""
        held = [engine]
        del engine
        self._loader.loading.submit(held.clear)
