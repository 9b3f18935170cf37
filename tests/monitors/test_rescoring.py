"""Logged inputs become arrays again, and rows of both versions, whatever a task answers; samples are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest

from monitors.columns import Words
from monitors.population import psi
from monitors.predictions import Predictions
from monitors.raw_inputs import batches, signed, unique
from monitors.rescoring import Rescorer
from serinus.evidence import WorkItem
from serinus.execute import Executor
from serinus.package import write_manifest
from serinus.records import InputRow, InputTensor, PredictionRow, Score
from serinus.sla import Sla

IDS = [number.to_bytes(6, "big") + bytes(10) for number in (1_000, 2_000, 3_000)]


def floats(name: str, *values: float) -> InputTensor:
    return InputTensor(name, "FP32", [len(values)], np.array(values, "<f4").tobytes())


def texts(name: str, *values: str) -> InputTensor:
    return InputTensor(name, "BYTES", [len(values)], list(values))


REQUESTS = [
    InputRow(IDS[0], "u1", 3, [floats("x", 1, 2, 3), texts("who", "ann")]),
    InputRow(IDS[1], "u2", 1, [texts("who", "ben"), floats("x", 4)]),
    InputRow(IDS[2], "u3", 2, [floats("x", 5, 6)]),
]


def test_requests_with_the_same_tensors_are_one_batch_and_one_value_stands_for_all_rows() -> None:
    first, second = batches(signed(REQUESTS), np.array([0, 3, 4]), 100)
    alike, alone = (first, second) if "who" in first.raw else (second, first)
    assert alike.raw["who"].tolist() == ["ann", "ann", "ann", "ben"]
    assert alike.raw["x"].tolist() == [1, 2, 3, 4]
    assert alike.at.tolist() == [0, 1, 2, 3]
    assert (alone.raw["x"].tolist(), alone.at.tolist()) == ([5, 6], [4, 5])
    assert len(batches(signed(REQUESTS), np.array([0, 3, 4]), 1)) == 3


@pytest.mark.parametrize(
    "tensor",
    [
        InputTensor("x", "FP32", [2], b"1234"),
        InputTensor("x", "FP32", [], b"1234"),
        InputTensor("x", "FP32", [-1, -1], b"1234"),
        InputTensor("x", "FP32", [1, 0], b""),
        InputTensor("x", "FP32", [1], ["1"]),
        InputTensor("x", "BYTES", [1], b"1"),
        InputTensor("x", "FP17", [1], b"12"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_not_believed(tensor: InputTensor) -> None:
    assert signed([InputRow(IDS[0], "u1", 1, [tensor])]) == []
    assert signed([InputRow(IDS[0], "u1", 10**9, [floats("x", 1)])]) == [], "one value cannot say how many rows"
    assert signed([InputRow(IDS[0], "u1", 1, [floats("x", 1), floats("x", 2)])]) == []


def test_a_request_that_was_written_twice_is_one_whatever_the_order() -> None:
    other = InputRow(IDS[0], "u1", 1, [floats("x", 9)])
    assert unique([*REQUESTS, other]) == unique([other, *reversed(REQUESTS)])
    assert [row.id for row in unique([*REQUESTS, other])] == IDS


def executor(folder: Path, scale: float) -> Executor:
    """click = sigmoid(x), size = scale * x, colour = softmax over (x, 0, -scale * x)."""
    (folder / "parts").mkdir(parents=True)
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    h (float[n] x) => (float[n] c, float[n] s, float[n,3] k) {{
      c = Sigmoid(x)
      f = Constant <value_float = {scale}> ()
      s = Mul(x, f)
      m = Neg(s)
      z = Sub(x, x)
      i = Constant <value_ints = [1]> ()
      x1 = Unsqueeze(x, i)
      z1 = Unsqueeze(z, i)
      m1 = Unsqueeze(m, i)
      all = Concat <axis = 1> (x1, z1, m1)
      k = Softmax <axis = 1> (all)
    }}"""
    (folder / "parts/h.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    (folder / "sample.json").write_text("{}")
    (folder / "baseline.json").write_text("{}")
    third = [1 / 3, 1 / 3, 1 / 3]
    classes = ["red", "green", "blue"]
    told: dict[str, Any] = {
        "inputs": [{"name": "x", "datatype": "FP32"}],
        "parts": [{"name": "h", "role": "head", "file": "parts/h.onnx", "inputs": ["x"], "outputs": ["c", "s", "k"]}],
        "tasks": [
            {"name": "click", "kind": "binary", "output": "c", "base_rate": 0.5},
            {"name": "size", "kind": "regression", "output": "s", "base_rate": 0.0},
            {"name": "colour", "kind": "multiclass", "output": "k", "base_rate": third, "classes": classes},
        ],
    }
    write_manifest(folder, told)
    return Executor(folder)


def test_every_kind_of_task_is_scored_for_both_versions(tmp_path: Path) -> None:
    kinds = {"click": "binary", "size": "regression", "colour": "multiclass"}
    tasks = {name: {"kind": kind, "label_window_s": 60, "absent": "unlabelled"} for name, kind in kinds.items()}
    item = WorkItem(
        rollout="r1",
        model="ads",
        sla=Sla.model_validate({"model": "ads", "tasks": tasks}),
        baseline=1,
        candidate=2,
        alpha=0.01,
        started_event_ms=0,
    )
    words, first = Words(), np.array([0.7, 0.2, 0.1], "<f4")
    scores = [
        Score("click", 0.25, 1),
        Score("size", 7.0, 1),
        Score("colour", float(first.max()), 1, "", first.tobytes()),
    ]
    logged = [
        PredictionRow(IDS[0], 0, "stable", "u1", "", 1, scores, {}, 900),
        PredictionRow(IDS[0], 2, "stable", "u1", "", 1, [Score("click", 0.5, 1, "base_rate")], {}, 900),
        PredictionRow(IDS[1], 0, "stable", "u2", "", 1, [Score("click", 0.5, 9)], {}, 900),
        PredictionRow(IDS[2], 1, "shadow", "u3", "", 1, [Score("click", 0.5, 1)], {}, 900),  # nobody was answered
        PredictionRow(IDS[2], 7, "stable", "u3", "", 1, [Score("click", 0.5, 1)], {}, 900),  # has no such row
    ]
    rescorer = Rescorer.of(item, executor(tmp_path / "a", 1.0), executor(tmp_path / "b", 2.0))
    rows = rescorer.dressed(REQUESTS, Predictions.of(logged, words, ()), words)
    assert rescorer.rows == 3

    def said(version: int, task: str) -> list[float]:
        mine = rows.take((rows.version == version) & (rows.task == words.known(task)))
        assert (mine.rollout == words.known("r1")).all()
        return [round(value, 4) for value in mine.take(np.lexsort((mine.index, mine.low, mine.high))).value.tolist()]

    sigmoid = [round(float(1 / (1 + np.exp(-x))), 4) for x in (1, 3, 4)]
    assert said(2, "click") == sigmoid
    assert said(1, "click") == [0.25, *sigmoid[1:]], (
        "as logged where it answered, else computed; a fallback is no answer"
    )
    assert said(1, "size") == [7.0, 3.0, 4.0]
    assert said(2, "size") == [2.0, 6.0, 8.0]
    colour = rows.take((rows.version == 1) & (rows.task == words.known("colour")))
    shares = colour.shares_of(np.arange(3))
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(colour.value, shares.max(axis=1))
    assert any(np.allclose(row, first) for row in shares)


def test_psi_of_equal_samples_is_nil_and_grows_with_the_difference() -> None:
    rng = np.random.default_rng(0)
    then = rng.normal(size=5_000)
    assert psi(then.tolist(), then.tolist()) == pytest.approx(0, abs=1e-12)
    assert psi(then.tolist(), rng.normal(size=5_000).tolist()) < 0.02
    apart = psi(then.tolist(), (then + 0.5).tolist())
    assert apart == pytest.approx(0.25, abs=0.03)  # of two normals: shift squared, less what ten bins lose
    assert psi(["a"] * 50 + ["b"] * 50, ["a"] * 90 + ["b"] * 10) == pytest.approx(
        0.4 * np.log(0.9 / 0.5 * 0.5 / 0.1), abs=0.05
    )
    missing = then.copy()
    missing[:2_000] = np.nan
    assert psi(then.tolist(), missing.tolist()) > 1
