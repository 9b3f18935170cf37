"""Is this folder a package that may be registered? Every reason to refuse, before anything is served.

    python -m serinus.inspect FOLDER     exit 0 and the manifest on stdout, or exit 1 and problem details on stdout

Meant to run in a process of its own, with limits on time and memory: it loads graphs that somebody else has made.
"""

from __future__ import annotations

import json
import math
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.baseline import BASELINE, read_baseline
from serinus.errors import BadInput, InvalidPackage, SerinusError
from serinus.execute import SAMPLE_TOLERANCE, Executor, parse_raw
from serinus.outputs import faults_of, scale_of
from serinus.package import MAX_FILES, Manifest, read_manifest
from serinus.parts import check_part
from serinus.tasks import TaskSpec

__all__ = ["MAX_JSON_BYTES", "MAX_PACKAGE_BYTES", "inspect_package", "main"]

ROWS_TOLERANCE = 1e-4
"""How far a row's answer may be from the one that it has alone, whatever the precision: rows are independent."""
MAX_PACKAGE_BYTES, MAX_JSON_BYTES, MAX_SAMPLE_ROWS = 1 << 30, 4 << 20, 1_000


def inspect_package(folder: Path) -> Manifest:
    """The manifest of a package whose files are whole, whose graphs are what it says, and whose sample comes true.

    Raises InvalidPackage that names the file, part or task."""
    folder = Path(folder)
    _check_files(folder)
    manifest = read_manifest(folder)
    _check_inputs(manifest)
    _check_roles(manifest)
    for part in manifest.parts:
        check_part(manifest, part, folder / part.file)
    executor = Executor(folder)
    _check_sample(executor, _json_of(folder / "sample.json"))
    _check_baseline(manifest, _json_of(folder / BASELINE))
    read_baseline(folder)
    return manifest


def _check_files(folder: Path) -> None:
    """Sizes and kinds, before a single byte of them is read."""
    if not folder.is_dir():
        raise InvalidPackage(f"{folder} is not a folder")
    total, count = 0, 0
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root, name)
            status = path.lstat()
            where = path.relative_to(folder).as_posix()
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                raise InvalidPackage(f"{where} is neither a file nor a folder; a package has no links")
            if stat.S_ISDIR(status.st_mode):
                if where != "parts":
                    raise InvalidPackage(f"{where}/ is in the package; its only folder is parts/")
                continue
            total, count = total + status.st_size, count + 1
            if path.suffix == ".json" and status.st_size > MAX_JSON_BYTES:
                raise InvalidPackage(f"{where} has {status.st_size} bytes, more than {MAX_JSON_BYTES}")
            if total > MAX_PACKAGE_BYTES:
                raise InvalidPackage(f"with {where} the package has more than {MAX_PACKAGE_BYTES} bytes")
            if count > MAX_FILES:
                raise InvalidPackage(f"the package has more than {MAX_FILES} files")


def _check_inputs(manifest: Manifest) -> None:
    """A type that has no missing value cannot be nullable, nor left out when a part reads it."""
    read = {name for part in manifest.parts for name in part.inputs}
    for spec in manifest.inputs:
        if spec.datatype in {"FP32", "FP64", "BYTES"}:
            continue
        if spec.nullable or (not spec.required and spec.name in read):
            raise InvalidPackage(f"input {spec.name!r} may be missing, but {spec.datatype} has no missing value")


def _check_roles(manifest: Manifest) -> None:
    """An answer comes from a head, and every part is there for a task."""
    heads = {tensor for part in manifest.parts if part.role == "head" for tensor in part.outputs}
    for task in manifest.tasks:
        if task.output not in heads:
            raise InvalidPackage(f"task {task.name!r}: its output {task.output!r} is not given by a part of role head")
    needed = {part.name for part in manifest.plan(manifest.task_names)}
    if idle := [part.name for part in manifest.parts if part.name not in needed]:
        raise InvalidPackage(f"part {idle[0]!r} is needed by no task")


def _json_of(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidPackage(f"{path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidPackage(f"{path.name} must be an object")
    return found


def _check_sample(executor: Executor, sample: Mapping[str, Any]) -> None:
    """Run the sample whole, then row by row: the answers must be the ones it says, whatever the batch."""
    manifest = executor.manifest
    columns, expected = sample.get("inputs"), sample.get("outputs")
    if not isinstance(columns, dict) or not isinstance(expected, dict):
        raise InvalidPackage('sample.json must be {"inputs": {name: [...]}, "outputs": {task: [...]}}')
    if expected.keys() != set(manifest.task_names):
        raise InvalidPackage(
            f"sample.json has outputs of {sorted(expected)}, the tasks are {sorted(manifest.task_names)}"
        )
    try:
        raw = parse_raw(manifest, columns)
        found = executor.run(raw)
        rows = len(next(iter(raw.values())))
        if not 1 <= rows <= MAX_SAMPLE_ROWS:
            raise InvalidPackage(f"sample.json has {rows} rows, expected 1 to {MAX_SAMPLE_ROWS}")
        single = [
            executor.run({name: column[at : at + 1] for name, column in raw.items()}) for at in range(min(rows, 8))
        ]
    except BadInput as error:
        raise InvalidPackage(f"sample.json: {error.detail}") from error
    for task in manifest.tasks:
        _check_output(task, found[task.name], rows)
        said = _floats(expected[task.name], task, rows)
        _check_answers(task, found[task.name], said, SAMPLE_TOLERANCE[manifest.precision])
        for at, one in enumerate(single):
            _check_output(task, one[task.name], 1)
            apart = np.abs(one[task.name][0] - found[task.name][at]).max() / scale_of(task, found[task.name])
            if apart > ROWS_TOLERANCE:
                raise InvalidPackage(f"task {task.name!r}: row {at} of the sample depends on the rows beside it")


def _check_answers(task: TaskSpec, found: npt.NDArray[Any], said: npt.NDArray[Any], tolerance: float) -> None:
    """Are they what the sample says?"""
    apart = float(np.abs(found - said).max()) / scale_of(task, said)
    if apart > tolerance:
        what = "numbers, relative to the largest" if task.kind == "regression" else "probabilities"
        raise InvalidPackage(f"task {task.name!r}: the sample says other {what}, up to {apart:.2g} apart")


def _check_output(task: TaskSpec, found: npt.NDArray[Any], rows: int) -> None:
    shape = (rows, *task.row_shape)
    if not isinstance(found, np.ndarray) or found.dtype != np.float32 or found.shape != shape:
        kind, given = getattr(found, "dtype", type(found).__name__), getattr(found, "shape", None)
        raise InvalidPackage(f"task {task.name!r}: its head gives {kind} {given}, expected float32 {shape}")
    if wrong := faults_of(task, found):
        raise InvalidPackage(f"task {task.name!r}: its head gives {wrong}")


def _floats(values: Any, task: TaskSpec, rows: int) -> npt.NDArray[np.float64]:
    """What the sample says of a task, shape [rows, *task.row_shape]."""
    width = math.prod(task.row_shape)
    each = [[value] for value in values] if isinstance(values, list) and not task.row_shape else values
    fine = isinstance(each, list) and len(each) == rows and all(isinstance(v, list) and len(v) == width for v in each)
    if not fine or not all(isinstance(v, int | float) and math.isfinite(v) for row in each for v in row):
        what = f"{rows} rows of {width} numbers" if task.row_shape else f"{rows} numbers"
        raise InvalidPackage(f"task {task.name!r}: sample.json must have {what} as its outputs")
    return np.asarray(each, np.float64).reshape(rows, *task.row_shape)


def _check_baseline(manifest: Manifest, baseline: Mapping[str, Any]) -> None:
    tasks = baseline.get("tasks")
    if not isinstance(tasks, dict) or tasks.keys() != set(manifest.task_names):
        raise InvalidPackage('baseline.json must have the validation metrics of every task: {"tasks": {task: {...}}}')


def main(arguments: list[str]) -> int:
    """What `python -m serinus.inspect` does. Gives the exit status."""
    if len(arguments) != 1:
        print("usage: python -m serinus.inspect FOLDER", file=sys.stderr)
        return 2
    try:
        manifest = inspect_package(Path(arguments[0]))
    except SerinusError as error:
        print(json.dumps(error.problem()))
        return 1
    except Exception as error:  # whatever a hostile file brought about: the answer is a refusal, never a trace
        print(json.dumps(InvalidPackage(f"{type(error).__name__}: {error}").problem()))
        return 1
    print(manifest.model_dump_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
