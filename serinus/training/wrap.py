"""A plain model of anybody's as a package: graphs, sample, baseline, manifest; checked before anybody can see it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.baseline import BASELINE
from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor, parse_raw
from serinus.footprint import footprint
from serinus.inspect import inspect_package
from serinus.outputs import faults_of
from serinus.package import Manifest, write_manifest
from serinus.tasks import InputSpec
from serinus.training.adapt import answer_part, input_of, load, names_of, rename_input, rename_output
from serinus.training.baseline import baseline_of
from serinus.training.describe import Description, rows_of
from serinus.training.metrics import quality_of
from serinus.training.sample import sample_of
from serinus.training.targets import Target

__all__ = ["wrap"]

Columns = Mapping[str, list[Any]]


def wrap(
    description: Description,
    folder: Path | str,
    *,
    base: Path | str = ".",
    sample: Columns | None = None,
    validation: Columns | None = None,
) -> Manifest:
    """Write the package that `description` tells of to `folder`, which must not exist yet (or be empty).

    `base`: the folder of its files. `sample`, `validation`: columns, in place of the description's files.
    Built aside, inspected as a push would, then renamed. Raises BadInput, InvalidPackage that name what is wrong."""
    folder, base = Path(folder), Path(base)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} exists already", "package to a new folder: a version is never overwritten")
    if sample is None:
        if description.sample is None:
            raise BadInput("there is no sample", "give some rows of raw inputs: sample: sample.json, or --sample")
        sample = rows_of(base / description.sample)
    if validation is None and description.validation is not None:
        validation = rows_of(base / description.validation)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.absolute().parent))
    try:
        aside.chmod(0o755)
        manifest = _Wrapping(description, base, aside).write(sample, validation)
        inspect_package(aside)
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


class _Wrapping:
    """One package being made in `folder`."""

    def __init__(self, said: Description, base: Path, folder: Path) -> None:
        self.said, self.base, self.folder = said, base, folder
        self.parts: list[dict[str, Any]] = []
        self.inputs: dict[str, InputSpec] = {}
        self.given: set[str] = set()
        """Tensors that a part gives."""
        self.outputs: dict[str, str] = {}
        """Task -> the tensor of its answers."""
        (folder / "parts").mkdir()

    def write(self, sample: Columns, validation: Columns | None) -> Manifest:
        self._graphs(sample)
        specs = list(self.inputs.values())
        manifest = {
            "inputs": [spec.model_dump() for spec in specs],
            "parts": self.parts,
            "precision": self.said.precision,
            "resident_bytes": footprint([self.folder / part["file"] for part in self.parts]),
            "provenance": self.said.provenance,
        }
        tasks = [self._task(name, None, None) for name in self.said.tasks]
        for name in ("sample.json", BASELINE):
            self._json(name, {})
        draft = write_manifest(self.folder, {**manifest, "tasks": tasks})
        executor = Executor(self.folder)
        raw = parse_raw(draft, {name: sample[name] for name in self.inputs if name in sample})
        shown = sample_of(specs, raw)
        answers = executor.run(shown.raw)
        self._json("sample.json", {"inputs": shown.columns, "outputs": {t: p.tolist() for t, p in answers.items()}})
        labels = self._baseline(executor, validation)
        plain = executor.run(raw)
        for spec in draft.tasks:
            if spec.kind != "multiclass" and (wrong := faults_of(spec, plain[spec.name])):
                why = f"task {spec.name!r}: the graph answers {wrong}"
                raise InvalidPackage(why, "say `activation: sigmoid` where it gives logits, or another kind of task")
        tasks = [self._task(name, labels.get(name), plain[name]) for name in self.said.tasks]
        return write_manifest(self.folder, {**manifest, "tasks": tasks})

    def _graphs(self, sample: Columns) -> None:
        if self.said.preprocess is not None:
            self._part("preprocess", "preprocess", load(self.base / self.said.preprocess), sample)
        if self.said.onnx is not None:
            self._whole(load(self.base / self.said.onnx), sample)
            return
        if self.said.encoder is not None:
            self._part("encoder", "encoder", load(self.base / self.said.encoder), sample)
        for task, file in self.said.heads.items():
            model = load(self.base / file)
            output = self._chosen(task, names_of(model)[1], file)
            if output in self.given or output in self.inputs:
                rename_output(model, output, f"{task}.{output}")
                output = f"{task}.{output}"
            answer = answer_part(model, output, task, self.said.tasks[task])
            self._part(f"head_{task}", "head" if answer is None else "tower", model, sample)
            self._answered(task, output, answer, sample)

    def _whole(self, model: Any, sample: Columns) -> None:
        """One graph: what is not served as it comes out gets a part of its own, which makes an answer of it."""
        file, outputs = str(self.said.onnx), names_of(model)[1]
        chosen = {task: self._chosen(task, outputs, file) for task in self.said.tasks}
        answers = {task: answer_part(model, chosen[task], task, said) for task, said in self.said.tasks.items()}
        self._part("model", "head" if None in answers.values() else "encoder", model, sample)
        for task, answer in answers.items():
            self._answered(task, chosen[task], answer, sample)

    def _answered(self, task: str, output: str, answer: Any, sample: Columns) -> None:
        self.outputs[task] = output
        if answer is not None:
            self._part(f"answer_{task}", "head", answer, sample)
            self.outputs[task] = f"{task}.answer"

    def _chosen(self, task: str, outputs: list[str], file: str) -> str:
        wanted = self.said.tasks[task].output or (outputs[0] if len(outputs) == 1 else task)
        if wanted not in outputs:
            raise BadInput(f"task {task!r}: {file} has no output {wanted!r}; it has {outputs}", "name it: output: NAME")
        return wanted

    def _part(self, name: str, role: str, model: Any, sample: Columns) -> None:
        """Add a graph; what it reads that no part gives is a raw input."""
        for tensor in names_of(model)[0]:
            if tensor in self.given:
                continue
            found = input_of(model, tensor)
            if found.name not in sample:
                raise BadInput(f"{name} reads {tensor!r}: neither a part gives it nor the sample has {found.name!r}")
            told = self.said.inputs.get(found.name)
            gaps = any(value is None for value in sample[found.name])
            spec = found.model_copy(
                update={"nullable": gaps or bool(told and told.nullable), "required": told is None or told.required}
            )
            rename_input(model, tensor, spec)
            self.inputs[spec.name] = spec
        inputs, outputs = names_of(model)
        self.given |= set(outputs)
        (self.folder / f"parts/{name}.onnx").write_bytes(model.SerializeToString())
        file = f"parts/{name}.onnx"
        self.parts.append({"name": name, "role": role, "file": file, "inputs": inputs, "outputs": outputs})

    def _baseline(self, executor: Executor, validation: Columns | None) -> dict[str, npt.NDArray[np.float64]]:
        """Write baseline.json; gives the labels, of each task that the validation rows tell of."""
        if validation is None:
            self._json(BASELINE, {"format": 1, "rows": 0, "tasks": {task: {} for task in self.said.tasks}})
            return {}
        raw = parse_raw(executor.manifest, {name: validation[name] for name in self.inputs if name in validation})
        rows = len(next(iter(validation.values())))
        labels = {task: _numbers(validation.get(task, [None] * rows), task) for task in self.said.tasks}
        targets = {task: Target(said.kind, said.classes, said.unit) for task, said in self.said.tasks.items()}
        found = baseline_of(
            list(self.inputs.values()),
            raw,
            labels,
            executor.run(raw),
            lambda task, y, p: quality_of(targets[task], y, p).as_dict(),
        )
        self._json(BASELINE, found)
        return {task: y[~np.isnan(y)] for task, y in labels.items() if not np.isnan(y).all()}

    def _task(self, name: str, labels: npt.NDArray[Any] | None, answers: npt.NDArray[Any] | None) -> dict[str, Any]:
        said = self.said.tasks[name]
        rate: Any = said.base_rate
        if rate is None and said.kind == "multiclass":
            rate = np.full(len(said.classes), 1 / max(len(said.classes), 1)).tolist()
            if labels is not None:
                rate = (np.bincount(labels.astype(int), minlength=len(said.classes)) / len(labels)).tolist()
        elif rate is None:
            seen = labels if labels is not None else answers
            rate = float(np.mean(seen)) if seen is not None else 0.5
        found = {"name": name, "kind": said.kind, "output": self.outputs[name], "base_rate": rate}
        return {**found, "classes": said.classes, "unit": said.unit}

    def _json(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _numbers(values: list[Any], task: str) -> npt.NDArray[np.float64]:
    try:
        return np.array([np.nan if value is None else float(value) for value in values], np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the labels of task {task!r} are no numbers: {error}") from error
