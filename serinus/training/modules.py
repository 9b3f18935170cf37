"""A plain torch model as a package: one module, or an encoder and heads, with preprocessing as a graph or none."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from serinus.errors import BadInput, InvalidPackage
from serinus.execute import DTYPES, Executor
from serinus.package import Manifest
from serinus.training.adapt import load
from serinus.training.describe import Description, InputSaid, TaskSaid
from serinus.training.graph import OPSET
from serinus.training.wrap import wrap

__all__ = ["PARITY", "package"]

PARITY = 1e-5
"""How far an answer of the package may be from the module's own; of numbers: relative to the largest."""
Columns = Mapping[str, Sequence[Any]]


class _Named(nn.Module):
    """A module whose outputs come as a tuple, in the order of their names."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.module, self.names = module, tuple(names)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.module(*inputs)
        if isinstance(found, dict):
            return tuple(found[name] for name in self.names)
        return tuple(found) if isinstance(found, tuple | list) else (found,)


def package(
    folder: Path | str,
    *,
    tasks: Mapping[str, TaskSaid],
    sample: Columns,
    model: nn.Module | None = None,
    encoder: nn.Module | None = None,
    heads: Mapping[str, nn.Module] | None = None,
    preprocess: Path | str | None = None,
    inputs: Mapping[str, InputSaid] | None = None,
    validation: Columns | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Manifest:
    """Write the package of `model`, or of `encoder` and `heads`, to `folder`, which must not exist yet.

    `model` takes the raw inputs in the order of `sample` and gives {task: tensor}, or tensors in the order of `tasks`;
    `encoder` takes them too and gives one tensor, which each head reads. With `preprocess`, an ONNX file, they take
    its outputs. Answers that are logits: `TaskSaid(activation="sigmoid")`. `sample`, `validation`: raw columns, rows
    first; validation with a column of labels (None: not known) named as each task.
    Raises BadInput, InvalidPackage: also when graphs and modules differ by more than `PARITY`."""
    if (model is None) == (encoder is None or heads is None):
        raise BadInput("give either `model`, or `encoder` and `heads`")
    rows = {name: _listed(column) for name, column in sample.items()}
    with tempfile.TemporaryDirectory() as place:
        aside = Path(place)
        given = _given(rows, preprocess)
        said: dict[str, Any] = {"preprocess": str(Path(preprocess).absolute())} if preprocess is not None else {}
        if model is not None:
            names = [f"{task}.out" for task in tasks]
            _export(_Named(model, list(tasks)), given, names, aside / "model.onnx")
            said["onnx"] = "model.onnx"
            said["tasks"] = {task: its.model_copy(update={"output": f"{task}.out"}) for task, its in tasks.items()}
        elif encoder is not None and heads is not None:
            (embedding,) = _export(_Named(encoder, ["embedding"]), given, ["embedding"], aside / "encoder.onnx")
            for task, head in heads.items():
                _export(_Named(head, [task]), {"embedding": embedding}, [f"{task}.out"], aside / f"{task}.onnx")
            said |= {"encoder": "encoder.onnx", "heads": {task: f"{task}.onnx" for task in heads}, "tasks": dict(tasks)}
        told = {"inputs": dict(inputs or {}), "provenance": dict(provenance or {})}
        labels = None if validation is None else {name: _listed(column) for name, column in validation.items()}
        manifest = wrap(Description(**said, **told), folder, base=aside, sample=rows, validation=labels)
    if preprocess is None and not any(tensor.isnan().any() for tensor in given.values() if tensor.is_floating_point()):
        _agree(Path(folder), tasks, given, lambda: _own(tasks, given, model, encoder, heads or {}))
    return manifest


def _own(
    tasks: Mapping[str, TaskSaid],
    given: Mapping[str, Tensor],
    model: nn.Module | None,
    encoder: nn.Module | None,
    heads: Mapping[str, nn.Module],
) -> dict[str, Tensor]:
    """What the modules answer themselves."""
    if model is not None:
        return dict(zip(tasks, _Named(model, list(tasks))(*given.values()), strict=True))
    embedding = encoder(*given.values()) if encoder is not None else None
    return {task: head(embedding) for task, head in heads.items()}


def _listed(column: Sequence[Any]) -> list[Any]:
    plain: list[Any] = column.tolist() if hasattr(column, "tolist") else list(column)
    return [None if isinstance(value, float) and value != value else value for value in plain]  # noqa: PLR0124 (NaN)


def _given(rows: Mapping[str, list[Any]], preprocess: Path | str | None) -> dict[str, Tensor]:
    """What the modules are traced with: the sample's columns, or what the preprocessing makes of them."""
    if preprocess is None:
        found = {}
        for name, column in rows.items():
            if any(isinstance(value, str) for value in column):
                raise BadInput(f"input {name!r} is text, which no module reads", "give a graph as `preprocess`")
            array = np.array([np.nan if value is None else value for value in column])
            found[name] = torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)
        return found
    import onnxruntime  # noqa: PLC0415 (slow to import)

    load(Path(preprocess))
    session = onnxruntime.InferenceSession(str(preprocess), providers=["CPUExecutionProvider"])
    kinds: dict[str, Any] = {"tensor(string)": object, "tensor(double)": np.float64, "tensor(int64)": np.int64}
    feed: dict[str, npt.NDArray[Any]] = {}
    for each in session.get_inputs():
        if each.name not in rows:
            raise BadInput(f"the preprocessing reads {each.name!r}, which the sample does not have")
        kind = kinds.get(each.type, np.float32)
        gap: Any = "" if kind is object else np.nan
        feed[each.name] = np.array([gap if value is None else value for value in rows[each.name]], kind)
    names = [each.name for each in session.get_outputs()]
    return {name: torch.from_numpy(found) for name, found in zip(names, session.run(names, feed), strict=True)}


def _export(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path) -> tuple[Tensor, ...]:
    """Write one graph with a free number of rows; gives back what the module answers."""
    module.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        found: tuple[Tensor, ...] = module(*inputs.values())
        if len(found) != len(outputs):
            raise BadInput(f"the module gives {len(found)} tensors, expected {len(outputs)}: {list(outputs)}")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
    return found


def _agree(
    folder: Path, tasks: Mapping[str, TaskSaid], given: Mapping[str, Tensor], own: Callable[[], Mapping[str, Tensor]]
) -> None:
    """Graphs and modules on the sample. Raises InvalidPackage."""
    executor = Executor(folder)
    specs = {spec.name: spec for spec in executor.manifest.inputs}
    feed = {name: tensor.numpy().astype(DTYPES[specs[name].datatype]) for name, tensor in given.items()}
    served = executor.run({name: array.reshape(len(array), *specs[name].shape) for name, array in feed.items()})
    with torch.no_grad():
        answers = own()
    for task, said in tasks.items():
        found = answers[task] if said.column is None else answers[task][:, said.column]
        found = found if said.kind == "multiclass" else found.reshape(-1)
        if said.activation != "none":
            found = torch.sigmoid(found) if said.activation == "sigmoid" else torch.softmax(found, -1)
        scale = max(1.0, float(found.abs().max())) if said.kind == "regression" else 1.0
        apart = float(np.abs(found.numpy() - served[task]).max()) / scale
        if not apart <= PARITY:
            raise InvalidPackage(f"task {task!r}: graph and module differ by {apart:.2g}, more than {PARITY:g}")
