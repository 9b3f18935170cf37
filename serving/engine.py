"""One loaded version: its graphs as ONNX Runtime sessions, run in the order of the manifest's DAG."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from serinus.errors import InvalidPackage
from serinus.execute import DTYPES, SAMPLE_TOLERANCE
from serinus.outputs import scale_of
from serinus.package import Manifest
from serinus.routes import HeadPolicy
from serving import steps
from serving.ask import Tensor, absent
from serving.encoder_cache import Key, key_of
from serving.head import Head, OwnSteps
from serving.heads import DEFAULT, Request, run_head, run_heads
from serving.last_good import LastGood
from serving.plan import owners, plan_of, reaching
from serving.process import Process, process
from serving.steps import Step, checked, repeated, run_steps
from serving.timeline import current
from serving.watchdog import NEVER

RTOL = 1e-3
"""How far an output may be from the package's own sample, beside SAMPLE_TOLERANCE: kernels differ by less."""
SAMPLE_WITHIN_S = 60.0
"""A package whose sample takes longer hangs, and is refused."""
MAX_PLANS = 512
MEASURED_ROWS, MEASURED_TIMES, MEASURED_WITHIN_NS = (1, 32), 5, 50_000_000


class Scored(NamedTuple):
    """One task's answer. `values`: float32 [n, *row_shape], not to be written to. `fallback`: what stood in."""

    values: Tensor
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Runnable:
    """A plan with what runs it. `cached`: part, the raw inputs that reach it, the tensors that it gives."""

    reads: tuple[str, ...]
    cached: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    trunk: tuple[Step, ...]
    heads: tuple[OwnSteps, ...]


class Engine:
    """The sessions of one package, and what is known of its heads."""

    def __init__(self, folder: Path, manifest: Manifest, digest: str, shared: Process | None = None) -> None:
        """Load every part. `shared`: what this process's engines share. Raises InvalidPackage."""
        self.manifest, self.digest, self.folder = manifest, digest, folder
        self.specs = {spec.name: spec for spec in manifest.inputs}
        self.heads = {task.name: Head(task) for task in manifest.tasks}
        self.last_good = LastGood()
        self._shared = shared or process()
        self._outputs = {task.name: task.output for task in manifest.tasks}
        self._steps = {part.name: steps.load(folder, part) for part in manifest.parts}
        self._owners = owners(manifest)
        self._reaching = {part.name: reaching(manifest, part) for part in manifest.parts if part.cache}
        self._plans: dict[tuple[tuple[str, ...], frozenset[str]], Runnable] = {}
        self._options: Any = ort.RunOptions()

    def run(
        self,
        inputs: Mapping[str, Tensor],
        tasks: Iterable[str],
        policy: Mapping[str, HeadPolicy] | None = None,
        entity: str = "",
        deadline_ns: int | None = None,
        *,
        trunk_must_run: bool = False,
    ) -> dict[str, Scored]:
        """Answers of the asked tasks. `inputs`: raw tensors, n rows or 1 (the same in all).

        Runs only the parts that these tasks need; a part that reads only one-row tensors runs with one row. Inputs
        that the package does not know are ignored; optional ones that are missing are filled; numeric ones are cast.
        `policy`: task -> what its head may take and what stands in for it; the default one where it says nothing.
        None is strict: no budgets, no fallbacks, no cache, whatever a part raises is raised. `deadline_ns`
        (time.perf_counter_ns): what is not there by then falls back. `trunk_must_run`: raise when a shared part fails.
        Raises KeyError for a task that it does not have, ValueError for inputs that it cannot take."""
        asked = tuple(tasks)
        plan = self._plan(asked)
        rows = max(map(len, inputs.values()))
        tensors = {name: self._input(name, inputs, rows) for name in plan.reads}
        mixed = rows > 1 and any(len(tensor) == 1 for tensor in tensors.values())
        if policy is None:
            return self._strict(plan, asked, Request(tensors, rows, mixed, {}, NEVER))
        request = Request(
            tensors, rows, mixed, policy, NEVER if deadline_ns is None else deadline_ns, timeline=current.get()
        )
        with self._shared.turn:
            self._shared.watchdog.begin()
            try:
                self._guarded(plan, asked, request, trunk_must_run)
            finally:
                self._shared.watchdog.rest()
        return {task: self._scored(task, request, entity) for task in asked}

    def status(self) -> dict[str, Any]:
        """How its heads are: breaker, fallbacks by reason, runs given up, runs on other threads now."""
        return {task: head.status() for task, head in self.heads.items()}

    def check_sample(self) -> None:
        """Run the package's own sample. Raises InvalidPackage when an output is not what the sample says."""
        sample = json.loads((self.folder / "sample.json").read_text())
        try:
            got = self.run(self._sample_inputs(sample), self.manifest.task_names)
            tolerance = SAMPLE_TOLERANCE[self.manifest.precision]
            for task, values in sample["outputs"].items():
                spec, found = self.heads[task].spec, got[task].values
                wanted = np.asarray(values, dtype=np.float32).reshape(-1, *spec.row_shape)
                atol = tolerance * scale_of(spec, wanted)
                if wanted.shape != found.shape or not np.allclose(found, wanted, rtol=RTOL, atol=atol):
                    raise InvalidPackage(f"task {task!r} does not give the outputs of its own sample.json")
        except InvalidPackage:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
            raise InvalidPackage(f"its own sample.json cannot be run: {error}") from error

    def warm_up(self, rows: Iterable[int] = MEASURED_ROWS) -> None:
        """Run rows of the sample through every part, so that the first request does not pay for allocations.

        Measures the heads: those that are quick need no threads. Raises what the parts raise."""
        raw = self._sample_inputs(json.loads((self.folder / "sample.json").read_text()))
        plan = self._plan(self.manifest.task_names)
        took: dict[str, list[int]] = {}
        for count in rows:
            inputs = {name: np.resize(tensor, (count, *tensor.shape[1:])) for name, tensor in raw.items()}
            tensors = {name: self._input(name, inputs, count) for name in plan.reads}
            request = Request(tensors, count, False, {}, NEVER)
            run_steps(plan.trunk, tensors, count, False, None)
            for own in plan.heads:
                took.setdefault(own.head.spec.name, []).append(_measured(own, request))
        for task, (one, *_, many) in took.items():
            self.heads[task].measured(one, many, MEASURED_ROWS[-1])

    def _strict(self, plan: Runnable, asked: tuple[str, ...], request: Request) -> dict[str, Scored]:
        watchdog, options = self._shared.watchdog, ort.RunOptions()
        watchdog.later(options, time.perf_counter_ns() + int(SAMPLE_WITHIN_S * 1e9))
        try:
            run_steps(plan.trunk, request.tensors, request.rows, request.mixed, options)
            for own in plan.heads:
                request.values[own.head.spec.name] = run_head(own, request.tensors, request, options)
        finally:
            watchdog.forget(options)
        return {task: Scored(self._values(task, request)) for task in asked}

    def _guarded(self, plan: Runnable, asked: tuple[str, ...], request: Request, trunk_must_run: bool) -> None:
        """Fill in `values` or `fallen` of the request for each asked task."""
        missed: dict[str, Key] = {}
        if plan.cached and self._shared.cache.enabled:
            plan, missed = self._look_up(plan, asked, request.tensors)
        try:
            self._run_trunk(plan, request)
        except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
            if trunk_must_run:
                raise
            for task in asked:
                request.fallen[task] = "trunk"
                self.heads[task].fell("trunk", error)
            return
        run_heads(plan.heads, request, self._shared)
        for task in asked:
            if task not in request.values and task not in request.fallen:
                try:
                    request.values[task] = self._values(task, request)
                except ValueError as error:
                    request.fallen[task] = "invalid"
                    self.heads[task].fell("invalid", error)
        for part, key in missed.items():
            outputs = self._steps[part].outputs
            if outputs[0] in request.tensors:
                self._shared.cache.keep(key, [request.tensors[name] for name in outputs], time.perf_counter_ns())

    def _run_trunk(self, plan: Runnable, request: Request) -> None:
        """Raises when the deadline passes before it is done."""
        now = time.perf_counter_ns()
        if request.deadline_ns == NEVER:
            run_steps(plan.trunk, request.tensors, request.rows, request.mixed, None)
            request.ran(now, time.perf_counter_ns())
            return
        if now >= request.deadline_ns:
            raise TimeoutError("the deadline had passed before the first part ran")
        self._shared.watchdog.watch(self._options, now, request.deadline_ns)
        try:
            run_steps(plan.trunk, request.tensors, request.rows, request.mixed, self._options)
        finally:
            if self._shared.watchdog.release():
                self._options.terminate = False
            request.ran(now, time.perf_counter_ns())

    def _look_up(
        self, plan: Runnable, asked: tuple[str, ...], tensors: dict[str, Tensor]
    ) -> tuple[Runnable, dict[str, Key]]:
        """Add what the cache has to `tensors`. (What is left to run, part -> key of what may be kept afterwards.)"""
        cache, now = self._shared.cache, time.perf_counter_ns()
        hits: list[str] = []
        missed: dict[str, Key] = {}
        for part, raws, outputs in plan.cached:
            key = key_of(self.digest, part, raws, tensors)
            found = cache.get(key, now)
            if found is None:
                missed[part] = key
            else:
                hits.append(part)
                tensors.update(zip(outputs, found, strict=True))
        return (self._plan(asked, frozenset(hits)) if hits else plan), missed

    def _plan(self, asked: tuple[str, ...], given: frozenset[str] = frozenset()) -> Runnable:
        """Remembered. Raises KeyError for an unknown task."""
        found = self._plans.get((asked, given))
        if found is None:
            plan = plan_of(self.manifest, self._owners, asked, given)
            running = [*plan.trunk, *(part for head in plan.heads for part in head.parts)]
            cached = tuple((p.name, self._reaching[p.name], p.outputs) for p in running if p.cache)
            heads = tuple(
                OwnSteps(
                    head=self.heads[head.task],
                    steps=tuple(self._steps[part.name] for part in head.parts),
                    reads=head.reads,
                    output=self._outputs[head.task],
                    needs=head.needs,
                )
                for head in plan.heads
            )
            found = Runnable(plan.reads, cached, tuple(self._steps[part.name] for part in plan.trunk), heads)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()  # a caller may ask for any set of tasks, in any order
            self._plans[asked, given] = found
        return found

    def _values(self, task: str, request: Request) -> Tensor:
        """Answers of a task, float32 [rows, *row_shape]. Raises ValueError when the trunk gives none of its kind."""
        values = request.values.get(task)
        if values is not None:
            return values
        tensor = request.tensors[self._outputs[task]]
        rows = 1 if request.mixed and len(tensor) == 1 else request.rows
        return repeated(checked(tensor, rows, self.heads[task].spec), request.rows)

    def _scored(self, task: str, request: Request, entity: str) -> Scored:
        policy = request.policy.get(task, DEFAULT)
        alone = bool(entity) and request.rows == 1 and policy.fallback == "last_known_good"
        values = request.values.get(task)
        if values is not None:
            if alone:
                self.last_good.keep(task, entity, values)
            return Scored(values)
        if alone and (known := self.last_good.get(task, entity)) is not None:
            return Scored(known, "last_known_good")
        spec = self.heads[task].spec
        value, name = np.asarray(spec.base_rate, np.float32), "base_rate"
        if not isinstance(policy.fallback, str) and not spec.row_shape:
            value, name = np.asarray(policy.fallback, np.float32), "constant"
        return Scored(np.full((request.rows, *spec.row_shape), value), name)

    def _input(self, name: str, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
        spec, tensor = self.specs[name], inputs.get(name)
        if tensor is None:
            if spec.required:
                raise ValueError(f"input {name!r} is missing")
            return absent(spec, rows)
        if len(tensor) != rows and len(tensor) != 1:
            raise ValueError(f"input {name!r} has {len(tensor)} rows, expected {rows} or 1")
        wanted = DTYPES[spec.datatype]
        if tensor.dtype == wanted:
            return tensor
        if spec.datatype == "BYTES" or tensor.dtype == np.object_:
            raise ValueError(f"input {name!r} is {tensor.dtype}, expected {spec.datatype}")
        return tensor.astype(wanted)

    def _sample_inputs(self, sample: Mapping[str, Any]) -> dict[str, Tensor]:
        return {name: self._sample_tensor(name, values) for name, values in sample["inputs"].items()}

    def _sample_tensor(self, name: str, values: list[Any]) -> Tensor:
        spec = self.specs[name]
        fill: Any = "" if spec.datatype == "BYTES" else np.nan
        flat = np.array(values, dtype=object).reshape(-1)
        filled = np.array([fill if value is None else value for value in flat], dtype=DTYPES[spec.datatype])
        return filled.reshape(-1, *spec.shape)


def _measured(own: OwnSteps, request: Request) -> int:
    """The shortest of a few runs, ns."""
    best, began = NEVER, time.perf_counter_ns()
    for _ in range(MEASURED_TIMES):
        at = time.perf_counter_ns()
        run_head(own, request.tensors, request, None)
        best = min(best, time.perf_counter_ns() - at)
        if time.perf_counter_ns() - began > MEASURED_WITHIN_NS:
            break
    return best
