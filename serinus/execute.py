"""The reference executor of a package: slow to start and plain, the oracle for everything that serves it.

Needs numpy and onnxruntime, not torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from serinus.errors import BadInput, InvalidPackage
from serinus.package import Manifest, Part, Precision, read_manifest
from serinus.tasks import Datatype, InputSpec

__all__ = ["DTYPES", "SAMPLE_TOLERANCE", "Executor", "Raw", "fill", "parse_raw", "session_options"]

Raw = Mapping[str, npt.NDArray[Any]]
"""Raw inputs by name, each of shape [n, *shape]. Missing: NaN, or the empty text."""

DTYPES: dict[Datatype, Any] = {
    "FP32": np.float32,
    "FP64": np.float64,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "BYTES": np.object_,
}
KINDS: dict[Datatype, tuple[type, ...]] = {
    "FP32": (int, float),
    "FP64": (int, float),
    "INT32": (int,),
    "INT64": (int,),
    "BOOL": (bool,),
    "BYTES": (str,),
}
CASTABLE: dict[Datatype, str] = {
    "FP32": "fiub",
    "FP64": "fiub",
    "INT32": "iu",
    "INT64": "iu",
    "BOOL": "b",
    "BYTES": "OU",
}
"""Kinds of numpy arrays that are taken for each type."""
MISSING: dict[Datatype, Any] = {"FP32": np.nan, "FP64": np.nan, "BYTES": ""}

SAMPLE_TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-4, "int8": 5e-3}
"""How far a probability may be from the one in sample.json: another CPU rounds otherwise, with 8 bits by more.

The numbers of a regression task: relative to the largest of them."""


def session_options() -> Any:
    """One thread, quiet: what it computes must not depend on who else is on the machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def fill(inputs: Iterable[InputSpec], raw: Raw, names: Sequence[str]) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """(The arrays of `names` in their declared types, n). An input that is not required may be left out.

    Raises BadInput for an input that is missing, too many, of another shape, or text where numbers are due."""
    specs = {spec.name: spec for spec in inputs}
    if unknown := raw.keys() - specs.keys():
        raise BadInput(f"{min(unknown)!r} is not an input of this model; it has {sorted(specs)}")
    counts = {name: len(array) for name, array in raw.items()}
    if not counts or len(set(counts.values())) > 1:
        raise BadInput(f"every input needs the same number of rows, at least one input; got {counts}")
    rows = next(iter(counts.values()))
    found: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        spec = specs[name]
        if name not in raw:
            if spec.required:
                raise BadInput(f"input {name!r} ({spec.datatype}) is required")
            found[name] = np.full((rows, *spec.shape), MISSING.get(spec.datatype, 0), DTYPES[spec.datatype])
            continue
        array = np.asarray(raw[name])
        if array.shape != (rows, *spec.shape):
            raise BadInput(f"input {name!r} has the shape {array.shape}, expected {(rows, *spec.shape)}")
        if array.dtype.kind not in CASTABLE[spec.datatype]:
            raise BadInput(f"input {name!r} is {array.dtype}, expected {spec.datatype}")
        found[name] = array.astype(DTYPES[spec.datatype], copy=False)
    return found, rows


def parse_raw(manifest: Manifest, columns: Mapping[str, list[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of JSON lists, one item a row (nested where the input has a shape); None is a missing value.

    Raises BadInput that names the input and the row."""
    specs = {spec.name: spec for spec in manifest.inputs}
    if unknown := columns.keys() - specs.keys():
        raise BadInput(f"{min(unknown)!r} is not an input of this model; it has {sorted(specs)}")
    if absent := [spec.name for spec in manifest.inputs if spec.required and spec.name not in columns]:
        raise BadInput(f"input {absent[0]!r} ({specs[absent[0]].datatype}) is required")
    return {name: _column(specs[name], values) for name, values in columns.items()}


def _column(spec: InputSpec, values: Any) -> npt.NDArray[Any]:
    if not isinstance(values, list):
        raise BadInput(f"input {spec.name!r} must be a list, one item a row")
    found: list[Any] = []
    for row, value in enumerate(values):
        for cell in _cells(spec, value, row):
            if cell is None or cell != cell:  # noqa: PLR0124  (NaN)
                if not spec.nullable:
                    raise BadInput(f"row {row} of input {spec.name!r} is null, which it may not be")
                cell = MISSING.get(spec.datatype)  # noqa: PLW2901
            elif not isinstance(cell, KINDS[spec.datatype]) or (isinstance(cell, bool) and spec.datatype != "BOOL"):
                raise BadInput(f"row {row} of input {spec.name!r} is {cell!r:.60}, expected {spec.datatype}")
            found.append(cell)
    try:
        array = np.empty(len(found), DTYPES[spec.datatype])
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which a graph must bear anyway
            array[:] = found
    except (OverflowError, TypeError) as error:
        raise BadInput(f"input {spec.name!r} does not fit {spec.datatype}: {error}") from error
    return array.reshape((len(values), *spec.shape))


def _cells(spec: InputSpec, value: Any, row: int, depth: int = 0) -> Iterable[Any]:
    if depth == len(spec.shape):
        yield value
        return
    if not isinstance(value, list) or len(value) != spec.shape[depth]:
        raise BadInput(f"row {row} of input {spec.name!r} is not of the shape {spec.shape}")
    for item in value:
        yield from _cells(spec, item, row, depth + 1)


class Executor:
    """A package, loaded. Raises InvalidPackage when it is not whole or ONNX Runtime cannot load a part."""

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder)
        self._sessions = {part.name: self._load(folder, part) for part in self.manifest.parts}

    @staticmethod
    def _load(folder: Path, part: Part) -> Any:
        path = str(folder / part.file)
        try:
            return onnxruntime.InferenceSession(path, session_options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class for each of its codes, all direct children of Exception
            raise InvalidPackage(f"part {part.name!r}: ONNX Runtime cannot load {part.file}: {error}") from error

    def run(self, raw: Raw, tasks: Iterable[str] | None = None) -> dict[str, npt.NDArray[np.float32]]:
        """task -> answers, float32 [n, *row_shape], of the asked tasks (None: all). Only the parts they need are run.

        Raises BadInput for wrong inputs or an unknown task, InvalidPackage when a part fails."""
        asked = tuple(tasks) if tasks is not None else self.manifest.task_names
        if unknown := set(asked) - set(self.manifest.task_names):
            raise BadInput(f"{min(unknown)!r} is not a task of this model; it has {list(self.manifest.task_names)}")
        tensors = self.tensors(raw, asked)
        return {task: tensors[self.manifest.task(task).output] for task in asked}

    def tensors(self, raw: Raw, asked: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Every tensor of the DAG on the way to these tasks, raw inputs too. Raises what `run` raises."""
        plan = self.manifest.plan(asked)
        specs = {spec.name for spec in self.manifest.inputs}
        read = list(dict.fromkeys(name for part in plan for name in part.inputs if name in specs))
        tensors, _ = fill(self.manifest.inputs, raw, read)
        for part in plan:
            try:
                found = self._sessions[part.name].run(list(part.outputs), {name: tensors[name] for name in part.inputs})
            except Exception as error:  # see _load
                raise InvalidPackage(f"part {part.name!r} failed: {error}") from error
            tensors.update(zip(part.outputs, found, strict=True))
        return tensors
