"""The packages that are served: made once, kept in a temporary folder under names that tell what they are made of."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from examples.flights import models as flights_models
from examples.flights.data import load
from serinus.tasks import InputSpec
from serinus.training import Dataset, HardSharing, Trained, export, fit
from serinus.training.preprocess import NUMBERS, Preprocess

WIDTH, HIDDEN = 256, (512, 512)
TASKS = ("click", "like", "share", "buy")
FLOATS = npt.NDArray[np.float32]


def cache() -> Path:
    """Where packages and other things that take long to make are kept between runs."""
    folder = Path(tempfile.gettempdir()) / "serinus-benchmarks"
    folder.mkdir(exist_ok=True)
    return folder


def kept(name: str, make: Callable[[Path], object], *sources: Path) -> Path:
    """The package `name`, made now if this version of `sources` has not made it yet."""
    read = sorted(
        path for each in (Path(__file__), *sources) for path in ([each] if each.is_file() else each.glob("*.py"))
    )
    mark = hashlib.sha256(b"".join(path.read_bytes() for path in read)).hexdigest()[:12]
    folder = cache() / f"{name}-{mark}"
    if not (folder / "manifest.json").is_file():
        aside = folder.with_name(f".{folder.name}-{os.getpid()}")
        try:
            make(aside)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _training() -> Path:
    return Path(flights_models.__file__).resolve().parents[2] / "serinus" / "training"


@functools.cache
def flights_rows() -> flights_models.Flights:
    """Every flight of the year with its features; some seconds."""
    return flights_models.prepare(load())


def flights() -> Path:
    """Version 2 of the flights model: 35 inputs with text and missing values, an encoder 64-32, 4 linear heads."""
    here = Path(flights_models.__file__).parent
    return kept("flights", lambda folder: flights_models.train(2, flights_rows(), folder), _training(), here)


def flights_at_first() -> Path:
    """Version 1 of the flights model: a candidate of about the same cost."""
    here = Path(flights_models.__file__).parent
    return kept("flights-1", lambda folder: flights_models.train(1, flights_rows(), folder), _training(), here)


@functools.cache
def dense_rows(count: int = 24_000) -> Dataset:
    """256 numbers, and four tasks that ask for overlapping combinations of the same 12 hidden causes."""
    random = np.random.default_rng(7)
    features = random.normal(size=(count, WIDTH)).astype(np.float32)
    causes = np.tanh(features @ (random.normal(size=(WIDTH, 12)) / np.sqrt(WIDTH) * 2))
    labels = {}
    for task in TASKS:
        logit = 2.5 * causes @ random.normal(size=12) / np.sqrt(12) * 2 - 1
        labels[task] = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return Dataset({"features": features}, labels)


def trained(tasks: Sequence[str], epochs: int = 3, rows: int = 24_000) -> tuple[Trained, Dataset]:
    """A network 256-512-512 with a linear head for each task, and the rows that it was not trained on.

    A task named `TASK.3` has the labels of `TASK`: for networks with more heads than there are kinds of labels."""
    found = dense_rows(rows)
    labels = {task: found.labels[task.split("_")[0]] for task in tasks}
    train, held = Dataset(found.raw, labels).split(0.8)
    model = HardSharing(hidden=HIDDEN, head_hidden=())
    return fit(train, held, _standardise(train), tasks=tasks, model=model, epochs=epochs, batch_size=512), held


def _standardise(rows: Dataset) -> Preprocess:
    """The preprocess graph of one input of 256 numbers."""
    seen: FLOATS = rows.raw["features"]
    spec = InputSpec(name="features", datatype="FP32", shape=(WIDTH,))
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], [NUMBERS]),
    ]
    constants = {"mean": seen.mean(axis=0), "deviation": seen.std(axis=0)}
    model = graph("preprocess", nodes, {"features": WIDTH}, {NUMBERS: WIDTH}, constants)
    return Preprocess((spec,), ("features",), WIDTH, (), model)


def dense(tasks: Sequence[str] = TASKS, name: str = "dense", epochs: int = 3, rows: int = 24_000) -> Path:
    """An encoder 256-512-512 on 256 numbers and a head for each task."""

    def make(folder: Path) -> None:
        network, held = trained(tasks, epochs, rows)
        export(network, folder, validation=held, provenance={"data": "synthetic"})

    return kept(name, make, _training())


def many(count: int) -> Path:
    """The same with so many heads, barely trained: for what an answer costs, not for what it says."""
    return dense([f"{TASKS[at % 4]}_{at}" for at in range(count)], f"tasks-{count}", epochs=1, rows=2_000)


def graph(
    name: str, nodes: list[Any], inputs: dict[str, int], outputs: dict[str, int], constants: dict[str, npt.NDArray[Any]]
) -> bytes:
    """A checked ONNX graph of float tensors [n, width]; a width of 0 means [n]."""

    def values(tensors: dict[str, int]) -> list[Any]:
        shapes = {tensor: ["n", width] if width else ["n"] for tensor, width in tensors.items()}
        return [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, shape) for tensor, shape in shapes.items()]

    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    made = helper.make_graph(nodes, name, values(inputs), values(outputs), initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
