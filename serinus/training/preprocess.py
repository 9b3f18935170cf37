"""From declared features to the preprocess graph, and from that very graph to the training matrices.

There is one computation: training runs the ONNX graph that serving will run, so the two cannot differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import TensorProto

from serinus.execute import fill, session_options
from serinus.tasks import InputSpec
from serinus.training.features import Category, Cyclic, Derived, Feature, Lookup, Number, Source, inputs_of
from serinus.training.graph import Graph

__all__ = ["CATEGORIES", "NUMBERS", "Preprocess", "learn"]

Raw = Mapping[str, npt.NDArray[Any]]
NUMBERS, CATEGORIES = "preprocess.numbers", "preprocess.categories"
UNKNOWN, MISSING, RESERVED = 0, 1, 2
FARTHEST = 10.0  # standard deviations
HUGE = float(np.finfo(np.float64).max)
ABSURD = 1e30  # no part of a mean


@dataclass(frozen=True, eq=False)
class Preprocess:
    """A fitted preprocess graph.

    `reads`: raw inputs in the order of the graph's; `width`: D of the numbers, float32 [n, D]; `cardinalities`: of
    each column of the categories, int64 [n, C]. The graph has no output of width 0."""

    inputs: tuple[InputSpec, ...]
    reads: tuple[str, ...]
    width: int
    cardinalities: tuple[int, ...]
    model: bytes

    @property
    def outputs(self) -> tuple[str, ...]:
        return ((NUMBERS,) if self.width else ()) + ((CATEGORIES,) if self.cardinalities else ())

    @cached_property
    def _session(self) -> Any:
        return onnxruntime.InferenceSession(self.model, session_options(), providers=["CPUExecutionProvider"])

    def __call__(self, raw: Raw) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """(numbers [n, D], categories [n, C]) of raw inputs of shape [n]. Raises BadInput."""
        feed, rows = fill(self.inputs, raw, self.reads)
        found = dict(zip(self.outputs, self._session.run(list(self.outputs), feed), strict=True))
        numbers = found.get(NUMBERS, np.zeros((rows, 0), np.float32))
        return numbers, found.get(CATEGORIES, np.zeros((rows, 0), np.int64))


def learn(features: Sequence[Feature], inputs: Sequence[InputSpec], raw: Raw) -> Preprocess:
    """Fit vocabularies, means and deviations to the training rows.

    `inputs`: all that the client sends, also what no feature reads. Raises ValueError for a wrong declaration."""
    declared = inputs_of(features, inputs)
    specs = {spec.name: spec for spec in declared}
    graph = Graph("preprocess")
    sources = _Sources(graph, specs)
    numbers = [feature for feature in features if isinstance(feature, Number)]
    cyclics = [feature for feature in features if isinstance(feature, Cyclic)]
    categories = [feature for feature in features if isinstance(feature, Category)]
    blocks, width = [], 0
    if numbers:
        matrix = graph.columns([sources.vector(feature.source) for feature in numbers])
        block, columns = _standardised(graph, matrix, numbers, _evaluate(graph, matrix, len(numbers), declared, raw))
        blocks, width = [block], columns
    if cyclics:
        matrix = graph.columns([sources.vector(feature.source) for feature in cyclics])
        blocks.append(_circle(graph, matrix, cyclics))
        width += 2 * len(cyclics)
    outputs: dict[str, tuple[int, int]] = {}
    if blocks:
        whole = graph.node("Concat", *blocks, axis=1)
        graph.node("Cast", whole, to=TensorProto.FLOAT, out=NUMBERS)
        outputs[NUMBERS] = (TensorProto.FLOAT, width)
    cardinalities = []
    if categories:
        indices = []
        for category in categories:
            words = _vocabulary(category, np.asarray(raw[category.input]))
            indices.append(graph.index(graph.read(specs[category.input]), ["", *words], MISSING, UNKNOWN))
            cardinalities.append(len(words) + RESERVED)
        graph.node("Identity", graph.columns(indices), out=CATEGORIES)
        outputs[CATEGORIES] = (TensorProto.INT64, len(categories))
    model = graph.model(outputs).SerializeToString()
    return Preprocess(declared, tuple(graph.inputs), width, tuple(cardinalities), model)


class _Sources:
    """Each source as a float64 vector of shape [n], built once."""

    def __init__(self, graph: Graph, specs: Mapping[str, InputSpec]) -> None:
        self.graph, self.specs = graph, specs
        self.known: dict[str | int, str] = {}

    def vector(self, source: Source) -> str:
        key = source if isinstance(source, str) else id(source)
        if key not in self.known:
            self.known[key] = self._build(source)
        return self.known[key]

    def _build(self, source: Source) -> str:
        graph = self.graph
        match source:
            case str():
                return graph.double(graph.read(self.specs[source]))
            case Lookup():
                text = graph.read(self.specs[source.input])
                return graph.double(graph.lookup(text, [*source.table], [*source.table.values()], source.default))
            case Derived():
                weights = source.weights or [1.0] * len(source.terms)
                terms = [
                    graph.node("Mul", self.vector(term), graph.vector([weight]))
                    for term, weight in zip(source.terms, weights, strict=True)
                ]
                total = terms[0]
                for term in terms[1:]:
                    total = graph.node("Add", total, term)
                if source.period is None:
                    return total
                period = graph.vector([source.period])
                turns = graph.node("Floor", graph.node("Div", total, period))
                return graph.node("Sub", total, graph.node("Mul", turns, period))


def _evaluate(graph: Graph, tensor: str, width: int, inputs: Sequence[InputSpec], raw: Raw) -> npt.NDArray[np.float64]:
    """The training rows of one tensor of the graph so far, [n, width]."""
    model = graph.model({tensor: (TensorProto.DOUBLE, width)}).SerializeToString()
    session = onnxruntime.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    feed, _ = fill(inputs, raw, tuple(graph.inputs))
    found: npt.NDArray[np.float64] = session.run([tensor], feed)[0]
    return found


def _standardised(
    graph: Graph, matrix: str, numbers: Sequence[Number], seen: npt.NDArray[np.float64]
) -> tuple[str, int]:
    """Float64 [n, K + those with gaps]: standardised numbers, then 1 where one of them is missing.

    Only a number that had gaps in training gets that column: a weight which never saw a 1 would answer at random."""
    low = np.array([feature.clip[0] if feature.clip else -HUGE for feature in numbers])
    high = np.array([feature.clip[1] if feature.clip else HUGE for feature in numbers])
    logs = np.array([feature.log for feature in numbers])
    missing = graph.node("IsNaN", matrix)
    value = graph.node("Min", graph.node("Max", matrix, graph.vector(low.tolist())), graph.vector(high.tolist()))
    shaped = np.clip(seen, low, high)
    if logs.any():
        size = graph.node("Log", graph.node("Add", graph.node("Abs", value), graph.vector([1.0])))
        log = graph.node("Mul", graph.node("Sign", value), size)
        value = graph.node("Where", graph.constant(logs), log, value)
        shaped = np.where(logs, np.sign(shaped) * np.log1p(np.abs(shaped)), shaped)
    mean, deviation = _moments(np.where(np.abs(shaped) < ABSURD, shaped, np.nan))
    centre = graph.vector(mean)
    value = graph.node("Where", missing, centre, value)
    value = graph.node("Div", graph.node("Sub", value, centre), graph.vector(deviation))
    value = graph.node("Min", graph.node("Max", value, graph.vector([-FARTHEST])), graph.vector([FARTHEST]))
    gaps = np.flatnonzero(np.isnan(seen).any(axis=0))
    if not len(gaps):
        return value, len(numbers)
    told = graph.node("Gather", missing, graph.constant(gaps), axis=1)
    return graph.node("Concat", value, graph.double(told), axis=1), len(numbers) + len(gaps)


def _moments(values: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column without its NaN; 0 and 1 where there is nothing to tell them."""
    count = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    mean = np.nansum(values, axis=0) / count
    deviation = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / count)
    return mean.tolist(), np.where(deviation > 1e-9 * (1 + np.abs(mean)), deviation, 1.0).tolist()


def _circle(graph: Graph, matrix: str, cyclics: Sequence[Cyclic]) -> str:
    angle = graph.node("Mul", matrix, graph.vector([2 * math.pi / feature.period for feature in cyclics]))
    sides = graph.node("Concat", graph.node("Sin", angle), graph.node("Cos", angle), axis=1)
    return graph.node("Where", graph.node("IsNaN", sides), graph.vector([0.0]), sides)


def _vocabulary(category: Category, texts: npt.NDArray[Any]) -> list[str]:
    if category.vocabulary is not None:
        return [word for word in dict.fromkeys(category.vocabulary) if word]
    counts = Counter(str(text) for text in texts.tolist())
    frequent = sorted((-count, word) for word, count in counts.items() if word and count >= category.min_count)
    return [word for _, word in frequent[: category.limit]]
