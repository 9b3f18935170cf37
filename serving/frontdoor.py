"""What a front door does with a request: stable in this process, canary by handle, record, answer, shadow."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from serinus import __version__
from serinus.errors import BadInput, NotFound
from serinus.ids import uuid7
from serinus.records import Arm
from serving.applied import Applied
from serving.ask import Answer, Ask, Output
from serving.assignment import arm_of, bucket_of, shadowed, shares
from serving.batching import Batcher
from serving.canary import Call, CanaryCaller, canary_outputs
from serving.chosen import Choose, taken
from serving.event_times import EventTimes, holds_token
from serving.label_calls import LabelCalls
from serving.load import Load
from serving.marks import Marks
from serving.process import process
from serving.recording import Recorder
from serving.routes_follower import Follower
from serving.rows import frames, input_frame, slices_of
from serving.sampling import sampled
from serving.settings import Settings
from serving.shadowing import Copy, SendBatch, ShadowQueue
from serving.tally import Tally
from serving.telling import Samples, adopt_heads, front_samples, keep_leaving
from serving.timeline import current
from serving.tracing import Tracing
from serving.versions import stable_tasks

log = logging.getLogger(__name__)
EXTENSIONS = ("binary_tensor_data", "parameters", "serinus_rank")


def writer_name(role: str) -> str:
    """A name that no other process start has."""
    return f"{role}-{os.getpid()}-{os.urandom(4).hex()}"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request on its way: who, when, which arm."""

    applied: Applied
    ask: Ask
    identity: uuid.UUID
    event_ms: int
    entity: str
    arm: Arm
    shadow: bool


class Door:
    """One front door. Everything runs on one event loop; `candidate` and `shadow` reach the other deployments."""

    def __init__(self, settings: Settings, candidate: Call, shadow: SendBatch) -> None:
        self.name = writer_name("front")
        process().cache.bound(settings.cache_bytes, settings.cache_ms)
        self.follower = Follower("front", self.name, settings)
        self._settings = settings
        self._recorder = Recorder(settings.log, self.name, settings.spool_bytes)
        self._marks = Marks(self._recorder, self.name, settings.mark_every_s)
        self._canary = CanaryCaller(candidate, settings.candidate_deadline_s, settings.candidate_in_flight)
        self._batcher = Batcher(settings.micro_batch)
        self._shadows = ShadowQueue(shadow, self._marks, settings.shadow_queue, settings.shadow_rps)
        self.tally = Tally(on=bool(settings.metrics_port))
        self.tracing = Tracing(settings.traces_to, settings.traces_share, settings.pool)
        self._labels = LabelCalls(settings.log, self.name, self.applied, self._marks, self.tally)
        self._tasks: list[asyncio.Task[None]] = []
        self._answered = 0
        self.load = Load()

    async def start(self) -> None:
        """Begin to follow the routes, to send shadow copies and to write marks.

        It returns when the models are answered: requests come from then on, also to a front door that has just been
        added. That takes at most the settings' `settle_s`, also without a controller."""
        self._recorder.start()
        loops: list[Coroutine[Any, Any, None]] = [
            self.follower.run(),
            self._shadows.run(),
            self._marks.keep_writing(lambda: list(self.follower.applied)),
            self._recorder.run(),
            keep_leaving(self._settings, self.name, self._samples),
        ]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(_end_if_broken)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.settle_s):
                await self.follower.settled()

    async def stop(self) -> None:
        """Stop the loops, finish the labels that wait, and write a last mark."""
        for task in self._tasks:
            task.remove_done_callback(_end_if_broken)
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._labels.pipe.close()
        await self._marks.write_all(durable=True)
        await self._recorder.close()
        await asyncio.to_thread(self.tracing.close)

    async def infer(
        self,
        applied: Applied,
        ask: Ask,
        authorization: bytes,
        choose: Choose | None = None,
        arrived_ns: int | None = None,
    ) -> Answer:
        """Answer one checked request; its rows are on their way to the log before this returns. Raises SerinusError.

        `choose`: which rows are answered, recorded and shadowed, in which order; None: all. `arrived_ns`: when the
        request did, on the clock of `time.perf_counter_ns`, for its time runs from then; None: now."""
        began = time.perf_counter_ns()
        deadline_ns = self.load.deadline(
            began if arrived_ns is None else arrived_ns, applied.table.serving, ask.timeout_us
        )
        asked = self._asked(applied, ask, authorization)
        model = applied.table.model
        mark = self._marks.of(model)
        number = mark.begin(asked.event_ms)
        try:
            if asked.arm == "canary":
                outputs = await canary_outputs(self._canary, applied, ask, deadline_ns)
            else:
                outputs = await self._batcher.run(applied, ask, applied.groups("stable", ask.tasks), deadline_ns)
            places: Sequence[int] = range(ask.rows)
            if choose is not None:
                places = choose(outputs, ask.rows)
                ask, outputs = taken(ask, outputs, places)
            if sampled(asked.entity, applied.table.serving.log_share):
                self._record(asked, ask, outputs, places, (time.perf_counter_ns() - began) // 1000)
        finally:
            mark.end(number)
        self._answered += 1
        since = began if arrived_ns is None else arrived_ns
        trace = _told(asked, outputs)
        self.tally.answered(
            model, asked.arm, time.perf_counter_ns() - since, ask.rows, outputs, request=asked.identity, trace=trace
        )
        answered = set(ask.tasks or applied.tasks)
        shown = [output for output in outputs if output.task in answered]
        return Answer(asked.identity, ask.said, asked.arm, applied.table, shown, ask.rows)

    async def labels(
        self, content_type: bytes, query: bytes, chunks: AsyncIterator[bytes], authorization: bytes
    ) -> bytes:
        """Take labels; what is accepted, and `complete_to`, is on disk before this returns. Raises SerinusError."""
        return await self._labels.take(content_type, query, chunks, self._times(authorization))

    @property
    def ready(self) -> bool:
        """Whether it has heard of its models, from the controller or from disk, and can answer."""
        return self.follower.synced or bool(self.follower.applied)

    def model_ready(self, model: str, version: str = "") -> bool:
        """Whether it can be asked; with a version: whether that is stable for some task."""
        applied = self.follower.applied.get(model)
        return applied is not None and (not version or any(str(v) == version for v in applied.tasks.values()))

    def server(self) -> dict[str, Any]:
        """OIP v2 metadata of the server."""
        return {"name": "serinus", "version": __version__, "extensions": list(EXTENSIONS)}

    def describe(self, model: str, version: str = "") -> dict[str, Any]:
        """OIP v2 metadata of a model, or of what one of its versions answers. Raises NotFound."""
        applied = self.applied(model)
        tasks = stable_tasks(applied, version) if version else list(applied.tasks)
        inputs = [{"name": s.name, "datatype": s.datatype, "shape": [-1, *s.shape]} for s in applied.specs.values()]
        return {
            "name": model,
            "versions": [str(version) for version in sorted(set(applied.tasks.values()))],
            "platform": "serinus_onnx",
            "inputs": inputs,
            "outputs": [{"name": task, "datatype": "FP32", "shape": applied.shape_of(task)} for task in tasks],
        }

    def status(self) -> dict[str, Any]:
        """Epochs, queue length, drops and losses of this process."""
        models = self.follower.applied
        return {
            "replica": self.name,
            "answered": self._answered,
            "load": self.load.status(),
            "candidate": self._canary.status(),
            "epochs": {model: applied.table.epoch for model, applied in models.items()},
            "report": self.follower.report().model_dump(),
            "shadow": {
                "queued": len(self._shadows),
                "sent": self._shadows.sent,
                "dropped": self._shadows.dropped,
                "limited": self._shadows.limited,
                "failed": self._shadows.failed,
            },
            "batches": {"runs": self._batcher.runs, "joined": self._batcher.joined},
            "recorder": self._recorder.status(),
            "heads": {model: applied.heads() for model, applied in models.items()},
            "runs": process().status(),
            "lost": {model: dict(self._marks.of(model).lost) for model in models},
            "outstanding_ms": {model: self._marks.of(model).outstanding_ms for model in models},
        }

    def refused(self, model: str, status: int) -> None:
        """A request to a model was answered by this HTTP status."""
        if model in self.follower.applied:
            self.tally.refused(model, status)

    def _samples(self) -> Samples:
        adopt_heads(self.tally, self.follower.applied.values(), "stable")
        waiting = {"requests_in_flight": self.load.waiting, "shadow_queue_rows": len(self._shadows)}
        lost = {model: self._marks.of(model).lost for model in self.follower.applied}
        spool = self._recorder.status()["lag_bytes"]
        epochs = {model: applied.table.epoch for model, applied in self.follower.applied.items()}
        return front_samples(self.tally, {**waiting, "spool_waiting_bytes": spool}, lost, epochs)

    def applied(self, model: str) -> Applied:
        """What is in force for a model. Raises NotFound."""
        applied = self.follower.applied.get(model)
        if applied is None:
            raise NotFound(f"model {model!r} is not served here")
        return applied

    def _times(self, authorization: bytes) -> EventTimes:
        return EventTimes(_wall_ms(), holds_token(authorization, self._settings.replay_token_sha256))

    def _asked(self, applied: Applied, ask: Ask, authorization: bytes) -> Asked:
        """Decide the request's id and arm, once. Raises BadInput."""
        if ask.event_ms is not None:
            _bounded(self._times(authorization), ask.event_ms, "the request")
        identity = ask.id or uuid7(_wall_ms() if ask.event_ms is None else ask.event_ms)
        event_ms = identity.int >> 80
        table, entity = applied.table, ask.entity or str(identity)
        canary_bp, shadow_bp = shares(table, applied.now_s())
        arm = arm_of(bucket_of(table.salt, entity), canary_bp) if canary_bp and not ask.pinned else "stable"
        shadow = not ask.pinned and shadowed(table.salt, identity.bytes, shadow_bp)
        return Asked(applied, ask, identity, event_ms, entity, arm, shadow)

    def _record(self, asked: Asked, ask: Ask, outputs: list[Output], places: Sequence[int], latency_us: int) -> None:
        """Hand an answer's rows to the spool, with what they were made from, and its copy to the shadow; no waiting.

        `ask`, `outputs`: of the answered rows, whose places in the request are `places`."""
        applied, table = asked.applied, asked.applied.table
        model, policy, mark = table.model, table.serving, self._marks.of(table.model)
        keys = [(asked.identity.bytes, index, asked.entity) for index in places]
        slices = slices_of(ask, table.slices, policy.inputs_exclude)
        rows = frames(
            keys,
            outputs,
            slices,
            arm=asked.arm,
            rollout=table.rollout or "",
            epoch=table.epoch,
            latency_us=latency_us,
            share=policy.log_share,
        )
        self._recorder.append("predictions", mark, model, asked.event_ms, rows)
        self.tally.add("serinus_recorded_rows_total", (model,), len(rows))
        share = min(policy.inputs_share, policy.log_share)
        if share and sampled(asked.entity, share):
            whole = input_frame(
                asked.identity.bytes,
                asked.entity,
                asked.ask,
                applied.specs,
                excluded=policy.inputs_exclude,
                share=share,
            )
            self._recorder.append("inputs", mark, model, asked.event_ms, [whole])
        if asked.shadow and self._shadows.admits(model, ask.rows):
            groups = applied.groups("stable" if asked.arm == "canary" else "candidate", ask.tasks)
            self._shadows.put(Copy(applied, groups, ask.inputs, keys, slices, mark.begin(asked.event_ms)))


def _told(asked: Asked, outputs: Iterable[Output]) -> str:
    """Say in the request's trace, if it has one, who answered it. The trace's id, or ""."""
    if (timeline := current.get()) is None:
        return ""
    table = asked.applied.table
    timeline.facts |= {
        "serinus.request_id": str(asked.identity),
        "serinus.arm": asked.arm,
        "serinus.rollout": table.rollout or "",
        "serinus.epoch": table.epoch,
        "serinus.rows": asked.ask.rows,
        "serinus.versions": ",".join(map(str, sorted({output.version for output in outputs}))),
        "serinus.fallbacks": ",".join(f"{output.task}:{output.fallback}" for output in outputs if output.fallback),
    }
    return timeline.trace


def _bounded(times: EventTimes, event_ms: int, what: str) -> None:
    try:
        times.check(event_ms, what)
    except ValueError as error:
        raise BadInput(str(error)) from error


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _end_if_broken(task: asyncio.Task[None]) -> None:
    """A front door without its loops would go on for ever with old routes: let Ray Serve start another one."""
    if not task.cancelled() and (error := task.exception()):
        log.critical("a loop of this front door ended: %r", error)
        traceback.print_exception(error, file=sys.stderr)  # the log of a replica is buffered, and the end is abrupt
        sys.stderr.flush()
        os._exit(1)
