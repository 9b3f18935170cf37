"""One loaded version: its graphs as ONNX Runtime sessions, run in the order of the manifest's DAG."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from serinus.errors import InvalidPackage
from serinus.execute import DTYPES, session_options
from serinus.package import Manifest, Part
from serinus.routes import HeadPolicy
from serving.ask import Tensor, absent

RTOL, ATOL = 1e-3, 1e-4
"""How far an output may be from the package's own sample: ONNX Runtime's kernels differ between CPUs by less."""


class Scored(NamedTuple):
    """One task's answer. `values`: probabilities, float32 [n], not to be written to. `fallback`: what stood in."""

    values: Tensor
    fallback: str = ""


@dataclass(frozen=True)
class Step:
    """One part as it runs: graph input -> tensor, and the tensors that its graph outputs become, by position."""

    session: Any
    feeds: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]


class Engine:
    """The sessions of one package. Not locked: ONNX Runtime's `run` may be called from several threads."""

    def __init__(self, folder: Path, manifest: Manifest, digest: str) -> None:
        """Load every part from its path (ONNX Runtime releases the GIL meanwhile). Raises InvalidPackage."""
        self.manifest, self.digest, self.folder = manifest, digest, folder
        self.specs = {spec.name: spec for spec in manifest.inputs}
        self._outputs = {task.name: task.output for task in manifest.tasks}
        self._steps = {part.name: _load(folder, part) for part in manifest.parts}
        self._plans: dict[tuple[str, ...], tuple[Step, ...]] = {}

    def run(
        self,
        inputs: Mapping[str, Tensor],
        tasks: Iterable[str],
        policy: Mapping[str, HeadPolicy] | None = None,
        entity: str = "",
        deadline_ns: int | None = None,
    ) -> dict[str, Scored]:
        """Probabilities of the asked tasks. `inputs`: raw tensors, n rows or 1 (the same in all).

        Runs only the parts that these tasks need; a part that reads only one-row tensors runs with one row. Inputs
        that the package does not know are ignored; optional ones that are missing are filled; numeric ones are cast.
        Raises KeyError for a task that it does not have, ValueError for inputs that it cannot take."""
        asked = tuple(tasks)
        plan = self._plans.get(asked)
        if plan is None:
            plan = self._plans[asked] = tuple(self._steps[part.name] for part in self.manifest.plan(asked))
        rows = max(map(len, inputs.values()))
        tensors = {name: self._input(name, inputs, rows) for name in self.specs}
        for step in plan:
            feeds = {feed: tensors[tensor] for feed, tensor in step.feeds}
            if len({len(tensor) for tensor in feeds.values()}) > 1:
                feeds = {feed: _repeated(tensor, rows) for feed, tensor in feeds.items()}
            tensors.update(zip(step.outputs, step.session.run(None, feeds), strict=True))
        return {task: Scored(self._scores(task, tensors[self._outputs[task]], rows)) for task in asked}

    def check_sample(self) -> None:
        """Run the package's own sample. Raises InvalidPackage when an output is not what the sample says."""
        sample = json.loads((self.folder / "sample.json").read_text())
        try:
            inputs = {name: self._sample_tensor(name, values) for name, values in sample["inputs"].items()}
            got = self.run(inputs, self.manifest.task_names)
            for task, values in sample["outputs"].items():
                wanted = np.asarray(values, dtype=np.float32).reshape(-1)
                found = got[task].values
                if wanted.shape != found.shape or not np.allclose(found, wanted, rtol=RTOL, atol=ATOL):
                    raise InvalidPackage(f"task {task!r} does not give the outputs of its own sample.json")
        except InvalidPackage:
            raise
        except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
            raise InvalidPackage(f"its own sample.json cannot be run: {error}") from error

    def warm_up(self, rows: Iterable[int] = (1, 32)) -> None:
        """Run missing values through every part, so that the first request does not pay for allocations."""
        for count in rows:
            self.run({name: absent(spec, count) for name, spec in self.specs.items()}, self.manifest.task_names)

    def _input(self, name: str, inputs: Mapping[str, Tensor], rows: int) -> Tensor:
        spec, tensor = self.specs[name], inputs.get(name)
        if tensor is None:
            if spec.required:
                raise ValueError(f"input {name!r} is missing")
            return absent(spec, rows)
        wanted = DTYPES[spec.datatype]
        if tensor.dtype == wanted:
            return tensor
        if spec.datatype == "BYTES" or tensor.dtype == np.object_:
            raise ValueError(f"input {name!r} is {tensor.dtype}, expected {spec.datatype}")
        return tensor.astype(wanted)

    def _sample_tensor(self, name: str, values: list[Any]) -> Tensor:
        spec = self.specs[name]
        fill: Any = "" if spec.datatype == "BYTES" else np.nan
        flat = np.array(values, dtype=object).reshape(-1)
        filled = np.array([fill if value is None else value for value in flat], dtype=DTYPES[spec.datatype])
        return filled.reshape(-1, *spec.shape)

    def _scores(self, task: str, tensor: Tensor, rows: int) -> Tensor:
        scores = _repeated(np.asarray(tensor, dtype=np.float32).reshape(-1), rows)
        if scores.shape != (rows,):
            raise ValueError(f"task {task!r} gave {scores.size} values for {rows} rows")
        return scores


def _repeated(tensor: Tensor, rows: int) -> Tensor:
    return np.repeat(tensor, rows, axis=0) if len(tensor) == 1 and rows > 1 else tensor


def _load(folder: Path, part: Part) -> Step:
    try:
        session = ort.InferenceSession(str(folder / part.file), session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
        raise InvalidPackage(f"{part.file} cannot be loaded: {error}") from error
    names = [item.name for item in session.get_inputs()]
    if len(names) != len(part.inputs) or len(session.get_outputs()) != len(part.outputs):
        raise InvalidPackage(f"{part.file} has other inputs or outputs than part {part.name!r} says")
    if set(names) == set(part.inputs):
        names = list(part.inputs)
    return Step(session, tuple(zip(names, part.inputs, strict=True)), part.outputs)
