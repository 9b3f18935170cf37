"""Ticks read, joined and accumulated in parts, each by a process of its own: Ray actors.

A shard keeps nothing but what it has read of the logs. What it finds of one tick goes home, and is merged there into
the state, which is saved together with the tick that it reaches to, in one write. So a shard whose process ends loses
nothing: Ray starts it again, it reads its part of that tick from the logs once more, and only this tick waits.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from monitors.accumulation import Accumulation, FrameKey
from monitors.bins import Frame
from monitors.log import CACHED_ROWS, LogReader
from monitors.portion import Portion
from monitors.ticks import Reach, read_tick
from serinus.evidence import WorkItem

__all__ = ["RayShards", "Shard", "Shards", "tree"]

_log = logging.getLogger(__name__)

WAIT_S = 600.0
"""A tick that takes longer is given up; its rollout is set aside for a while and tried again."""
STORE_BYTES = 256 << 20
READERS = 16
_KINDS = (RuntimeError, TimeoutError, OSError)


class Shards(Protocol):
    """Who accumulates a tick in parts."""

    def parts(
        self, whole: Accumulation, previous_ms: int, tick_ms: int, reach: Reach | None = None
    ) -> list[Accumulation]:
        """What `whole` is to absorb of the rows that are due at `tick_ms` and were not at `previous_ms`; `reach`: see
        `monitors.ticks`."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Shard:
    """Part `number` of `of` parts of every model's rows under the folder `log`."""

    log: Path
    number: int
    of: int
    readers: OrderedDict[tuple[str, tuple[str, ...], int], LogReader] = field(default_factory=OrderedDict)

    def part(
        self,
        item: WorkItem,
        replay: bool,
        bins: dict[FrameKey, Frame],
        previous_ms: int,
        tick_ms: int,
        *,
        reach: Reach | None = None,
    ) -> Accumulation:
        """What its rows add at one tick. Raises OSError."""
        part = Accumulation(item, replay, bins=bins)
        part.add(read_tick(item, self._reader(item), previous_ms, tick_ms, reach))
        part.enter()
        part.cells = {place: cell for place, cell in part.cells.items() if not cell.empty_handed}
        return part

    def merge(self, one: Accumulation, other: Accumulation) -> Accumulation:
        return one.merge(other)

    def _reader(self, item: WorkItem) -> LogReader:
        key = (item.model, item.sla.slice_features, item.sla.tick_s)
        if key not in self.readers:
            portion = Portion.split(self.of, item.sla.tick_s)[self.number]
            self.readers[key] = LogReader(self.log, *key[:2], CACHED_ROWS // self.of, portion)
        self.readers.move_to_end(key)
        while len(self.readers) > READERS:
            self.readers.popitem(last=False)
        return self.readers[key]


class RayShards:
    """`count` shards as Ray actors: of the cluster at `address`, or of a small one of their own on this machine, which
    is started at the first tick."""

    def __init__(self, log: Path, count: int, address: str = "") -> None:
        self._log, self._count, self._address = log, count, address
        self._actors: list[Any] = []

    def parts(
        self, whole: Accumulation, previous_ms: int, tick_ms: int, reach: Reach | None = None
    ) -> list[Accumulation]:
        """Raises RuntimeError, TimeoutError or OSError when there is no cluster, or no answer; may be asked again."""
        import ray  # noqa: PLC0415 (it takes a second, and one shard needs none)

        try:
            actors = self._started()
            shared = ray.put((whole.item, whole.replay, whole.bins))
            parts = [actor.part.remote(shared, previous_ms, tick_ms, reach) for actor in actors]
            found: list[Accumulation] = ray.get(tree(parts, self._merge), timeout=WAIT_S)
        except (ray.exceptions.RayError, *_KINDS) as error:
            self.close()
            raise RuntimeError(f"the shards did not answer: {error}") from error
        return found

    def close(self) -> None:
        import ray  # noqa: PLC0415

        self._actors = []
        if ray.is_initialized():
            ray.shutdown()

    @property
    def actors(self) -> list[Any]:
        return list(self._actors)

    def _merge(self, at: int, one: Any, other: Any) -> Any:
        return self._actors[at % self._count].merge.remote(one, other)

    def _started(self) -> list[Any]:
        import ray  # noqa: PLC0415

        if self._actors:
            return self._actors
        if not ray.is_initialized():
            own = {"num_cpus": self._count, "object_store_memory": STORE_BYTES, "_node_ip_address": "127.0.0.1"}
            ray.init(
                address=self._address or "local",
                include_dashboard=None if self._address else False,
                log_to_driver=False,
                configure_logging=False,
                **({} if self._address else own),
            )
        _log.info("%d shards on Ray %s", self._count, self._address or "of their own")
        made = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Actor)
        self._actors = [made.remote(str(self._log), number, self._count) for number in range(self._count)]
        return self._actors


class _Actor:
    """A `Shard` as an actor; a restarted one begins with nothing in memory, which changes nothing but the time."""

    def __init__(self, log: str, number: int, of: int) -> None:
        self._shard = Shard(Path(log), number, of)

    def part(
        self,
        shared: tuple[WorkItem, bool, dict[FrameKey, Frame]],
        previous_ms: int,
        tick_ms: int,
        reach: Reach | None = None,
    ) -> Accumulation:
        return self._shard.part(*shared, previous_ms, tick_ms, reach=reach)

    def merge(self, one: Accumulation, other: Accumulation) -> Accumulation:
        return self._shard.merge(one, other)

    def pid(self) -> int:
        return os.getpid()

    def cpu_s(self) -> float:
        """Seconds of processor time that this process has taken."""
        return time.process_time()


def tree(parts: list[Any], merge: Any, leaves: int = 2) -> list[Any]:
    """Pairs merged, and pairs of pairs, until at most `leaves` are left; `merge(place, one, other)`."""
    while len(parts) > leaves:
        odd = parts[-1:] if len(parts) % 2 else []
        pairs = zip(parts[::2], parts[1::2], strict=False)
        parts = [merge(at, *pair) for at, pair in enumerate(pairs)] + odd
    return parts
