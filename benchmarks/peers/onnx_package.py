"""What every peer does with a request: its JSON into arrays, all parts through ONNX Runtime, all tasks out.

Needs numpy and onnxruntime alone: it is imported in environments that have nothing of Serinus."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

DTYPES: dict[str, Any] = {"FP32": np.float32, "INT64": np.int64, "BYTES": np.object_}


class OnnxPackage:
    """A package as sessions of one thread each, in an order in which every part finds its inputs."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        self.inputs = {spec["name"]: spec for spec in manifest["inputs"]}
        self.tasks = [(task["name"], task["output"]) for task in manifest["tasks"]]
        waiting, there, self.steps = list(manifest["parts"]), set(self.inputs), []
        while waiting:
            part = next(part for part in waiting if there.issuperset(part["inputs"]))
            waiting.remove(part)
            there.update(part["outputs"])
            self.steps.append((_session(folder / part["file"]), part["inputs"], part["outputs"]))

    def run(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """task -> float32 [n]. `arrays`: input -> [n, *shape]."""
        tensors = dict(arrays)
        for session, reads, gives in self.steps:
            tensors.update(zip(gives, session.run(gives, {name: tensors[name] for name in reads}), strict=True))
        return {task: tensors[output] for task, output in self.tasks}

    def array(self, name: str, data: Any) -> Any:
        """The values of one input; null is NaN, or the empty text."""
        spec = self.inputs[name]
        if spec["datatype"] == "BYTES":
            data = ["" if value is None else value for value in data]
        return np.array(data, dtype=DTYPES[spec["datatype"]]).reshape(-1, *spec["shape"])

    def answer(self, inputs: list[dict[str, Any]], plain: bool = False) -> list[dict[str, Any]]:
        """The outputs of an OIP v2 request. `plain`: lists instead of arrays, for whom cannot write arrays."""
        found = self.run({tensor["name"]: self.array(tensor["name"], tensor["data"]) for tensor in inputs})
        return [
            {"name": task, "datatype": "FP32", "shape": [len(p)], "data": p.tolist() if plain else p}
            for task, p in found.items()
        ]


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def packages() -> dict[str, Path]:
    """model -> folder, from BENCH_MODELS (JSON)."""
    return {name: Path(folder) for name, folder in json.loads(os.environ["BENCH_MODELS"]).items()}


def load() -> dict[str, OnnxPackage]:
    """The models of BENCH_MODELS, loaded."""
    return {name: OnnxPackage(folder) for name, folder in packages().items()}


def port() -> int:
    return int(os.environ["BENCH_PORT"])
