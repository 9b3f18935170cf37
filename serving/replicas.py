"""What `Candidate` and `Shadow` do: run the versions that they hold, on behalf of the front doors."""

from __future__ import annotations

import asyncio
import logging
import time

from serinus.routes import ReplicaRole
from serving.applied import Group, run
from serving.ask import Output, Tensor
from serving.calls import ShadowBatch
from serving.frontdoor import writer_name
from serving.memory_bound import MemoryBound
from serving.process import process
from serving.recorder import LogWriter, partition_of
from serving.routes_follower import Follower
from serving.rows import frames
from serving.settings import Settings
from serving.tally import Tally
from serving.telling import Samples, adopt_heads, keep_leaving

log = logging.getLogger(__name__)


class Scorer:
    """A process that follows the routes and scores what it is sent. Create it on the event loop that it is to use."""

    def __init__(self, role: ReplicaRole, settings: Settings) -> None:
        self.name = writer_name(role)
        self._arm = "shadow" if role == "shadow" else "canary"
        process().cache.bound(settings.cache_bytes, settings.cache_ms)
        self._memory = MemoryBound(settings.candidate_memory_bytes)
        self.follower = Follower(role, self.name, settings)
        self.tally = Tally(on=bool(settings.metrics_port))
        self._following = asyncio.create_task(self.follower.run())
        self._telling = asyncio.create_task(keep_leaving(settings, self.name, self._samples))

    def outputs(
        self, inputs: dict[str, Tensor], groups: tuple[Group, ...], entity: str = "", *, trunk_must_run: bool = True
    ) -> list[Output]:
        """Raises KeyError when a version is not loaded here (yet).

        `trunk_must_run`: raise when the shared parts fail: stable has better answers than fallbacks."""
        if self._following.done():
            raise RuntimeError("this process no longer follows the routes")
        try:
            return run(self.follower.engines, inputs, groups, entity, trunk_must_run=trunk_must_run)
        except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
            self._memory.failed(error)
            raise

    def _samples(self) -> Samples:
        adopt_heads(self.tally, self.follower.applied.values(), self._arm)
        return self.tally.samples()

    def check(self) -> None:
        """Raises when this process should be replaced by a fresh one: Ray Serve asks every second."""
        self._memory.check()
        if self._following.done():
            raise RuntimeError("this process no longer follows the routes")


class ShadowScorer(Scorer):
    """Scores copies and records them, arm `shadow`, with the keys and slices of their requests."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("shadow", settings)
        self._predictions = LogWriter(settings.log, "predictions", self.name)

    def score(self, batch: ShadowBatch) -> int:
        """Score and record a batch by one run a version. Returns how many rows could not be written."""
        began = time.perf_counter_ns()
        entity = batch.keys[0][2] if len(batch.keys) == 1 else ""
        outputs = self.outputs(batch.inputs, batch.groups, entity, trunk_must_run=False)
        rows = frames(
            batch.keys,
            outputs,
            batch.slices,
            arm="shadow",
            rollout=batch.rollout,
            epoch=batch.epoch,
            latency_us=(time.perf_counter_ns() - began) // 1000,
            share=batch.share,
        )
        hours: dict[str, list[bytes]] = {}
        for (identity, _index, _entity), row in zip(batch.keys, rows, strict=True):
            hours.setdefault(partition_of(int.from_bytes(identity[:6], "big")), []).append(row)
        unwritten = 0
        for hour, parts in hours.items():
            try:
                self._predictions.append(batch.model, hour, b"".join(parts))
            except OSError as error:
                log.error("%d shadow rows of %s are lost: %s", len(parts), batch.model, error)
                unwritten += len(parts)
        self.tally.scored(batch.model, "shadow", len(batch.keys), outputs)
        self.tally.add("serinus_shadow_rows_total", (batch.model, "scored"), len(batch.keys))
        return unwritten
