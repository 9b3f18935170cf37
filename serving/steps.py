"""One part of a package as it runs, and the checks of what comes out at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from serinus.errors import InvalidPackage
from serinus.execute import session_options
from serinus.outputs import faults_of
from serinus.package import Part
from serinus.tasks import TaskSpec
from serving.ask import Tensor

Run = Callable[[Sequence[str], dict[str, Tensor], Any], Sequence[Tensor]]


@dataclass(frozen=True, slots=True)
class Step:
    """`run(graph outputs, feeds, run options)`. `feeds`: (graph input, tensor). `outputs`: tensors, in that order."""

    run: Run
    names: tuple[str, ...]
    feeds: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]


def load(folder: Path, part: Part) -> Step:
    """Load a part from its path (ONNX Runtime releases the GIL meanwhile). Raises InvalidPackage."""
    try:
        session = ort.InferenceSession(str(folder / part.file), session_options(), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
        raise InvalidPackage(f"{part.file} cannot be loaded: {error}") from error
    names = [item.name for item in session.get_inputs()]
    if len(names) != len(part.inputs) or len(session.get_outputs()) != len(part.outputs):
        raise InvalidPackage(f"{part.file} has other inputs or outputs than part {part.name!r} says")
    if set(names) == set(part.inputs):
        names = list(part.inputs)
    inner = getattr(session, "_sess", session)  # without the wrapper's checks of what is checked here: 1 us a run less
    outputs = tuple(item.name for item in session.get_outputs())
    return Step(inner.run, outputs, tuple(zip(names, part.inputs, strict=True)), part.outputs)


def run_steps(steps: Iterable[Step], tensors: dict[str, Tensor], rows: int, mixed: bool, options: Any) -> None:
    """Run parts in order; what they give is added to `tensors`. Raises whatever ONNX Runtime raises.

    `mixed`: some tensors may have one row where others have `rows`; it is repeated where a part reads both."""
    for step in steps:
        feeds = {feed: tensors[name] for feed, name in step.feeds}
        if mixed and len({len(tensor) for tensor in feeds.values()}) > 1:
            feeds = {feed: repeated(tensor, rows) for feed, tensor in feeds.items()}
        tensors.update(zip(step.outputs, step.run(step.names, feeds, options), strict=True))


def repeated(tensor: Tensor, rows: int) -> Tensor:
    return np.repeat(tensor, rows, axis=0) if len(tensor) == 1 and rows > 1 else tensor


def checked(tensor: Tensor, rows: int, task: TaskSpec) -> Tensor:
    """Answers of a task, float32 [rows, *task.row_shape]. Raises ValueError when these are none, or not so many."""
    if task.kind != "binary":
        return _checked(tensor, rows, task)
    if tensor.dtype != np.float32:
        tensor = np.asarray(tensor, dtype=np.float32)
    if tensor.shape != (rows,):
        if tensor.size != rows or tensor.shape[:1] != (rows,):
            raise ValueError(f"it gave the shape {tensor.shape} for {rows} rows")
        tensor = tensor.reshape(-1)
    low, high = (tensor.item(),) * 2 if rows == 1 else (tensor.min(), tensor.max())
    if not (low >= 0.0 and high <= 1.0):  # also where either is NaN
        raise ValueError(f"it gave numbers from {low} to {high}, which are no probabilities")
    return tensor


def _checked(tensor: Tensor, rows: int, task: TaskSpec) -> Tensor:
    """The same of a task of another kind. A column of numbers is a list of them."""
    tensor = np.asarray(tensor, dtype=np.float32)
    shape = (rows, *task.row_shape)
    if tensor.shape != shape:
        if task.row_shape or tensor.shape != (rows, 1):
            raise ValueError(f"it gave the shape {tensor.shape}, expected {shape}")
        tensor = tensor.reshape(shape)
    if wrong := faults_of(task, tensor):
        raise ValueError(f"it gave {wrong}")
    return tensor
