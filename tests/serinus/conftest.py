"""A small package whose graphs are written out, to be broken in every way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx.parser
import pytest

from serinus.package import write_manifest

HEADER = '<ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>\n'
GRAPHS = {
    "preprocess": """preprocess (float[n] price, string[n] country) => (float[n,2] numbers)
        <float zero = {0.0}, int64[2] shape = {2, -1}> {
        gap = IsNaN(price)
        known = Where(gap, zero, price)
        code = ai.onnx.ml.LabelEncoder<keys_strings=["BR", "DE"], values_floats=[1.0, 2.0], default_float=0.0>(country)
        flat = Concat<axis = 0>(known, code)
        rows = Reshape(flat, shape)
        numbers = Transpose<perm = [1, 0]>(rows) }""",
    "encoder": """encoder (float[n,2] numbers) => (float[n,2] embedding)
        <float[2,2] weight = {0.5, -1.0, 0.25, 1.0}> { embedding = MatMul(numbers, weight) }""",
    "head_click": """head (float[n,2] embedding) => (float[n] click)
        <float[2] weight = {1.0, 0.5}> { logit = MatMul(embedding, weight)  click = Sigmoid(logit) }""",
    "head_buy": """head (float[n,2] embedding) => (float[n] buy)
        <float[2] weight = {-1.0, 0.5}> { logit = MatMul(embedding, weight)  buy = Sigmoid(logit) }""",
}
MANIFEST: dict[str, Any] = {
    "inputs": [
        {"name": "price", "datatype": "FP32", "nullable": True},
        {"name": "country", "datatype": "BYTES", "nullable": True},
        {"name": "weekday", "datatype": "INT64", "required": False},
    ],
    "parts": [
        {"name": "preprocess", "role": "preprocess", "inputs": ["price", "country"], "outputs": ["numbers"]},
        {"name": "encoder", "role": "encoder", "inputs": ["numbers"], "outputs": ["embedding"]},
        {"name": "head_click", "role": "head", "inputs": ["embedding"], "outputs": ["click"]},
        {"name": "head_buy", "role": "head", "inputs": ["embedding"], "outputs": ["buy"]},
    ],
    "tasks": [
        {"name": "click", "kind": "binary", "output": "click", "base_rate": 0.1},
        {"name": "buy", "kind": "binary", "output": "buy", "base_rate": 0.01},
    ],
}
SAMPLE = {
    "inputs": {"price": [1.0, None, 2.0], "country": ["BR", "DE", None]},
    # by hand: numbers (1, 1), (0, 2), (2, 0) -> embeddings (.75, 0), (.5, 2), (1, -2) -> logits below
    "outputs": {"click": [0.679178699, 0.817574476, 0.5], "buy": [0.320821301, 0.622459331, 0.119202922]},
}
BASELINE = {"format": 1, "rows": 3, "tasks": {"click": {"auc": 0.7}, "buy": {"auc": 0.8}}}


@dataclass
class Recipe:
    """What a package is made of; a test alters it before it is written."""

    graphs: dict[str, str] = field(default_factory=lambda: dict(GRAPHS))
    manifest: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(MANIFEST))
    sample: Any = field(default_factory=lambda: copy.deepcopy(SAMPLE))
    baseline: Any = field(default_factory=lambda: copy.deepcopy(BASELINE))
    edit: Callable[[str, Any], None] = lambda _name, _model: None
    """Called with each part's name and ModelProto before it is saved."""

    def write(self, folder: Path) -> Path:
        (folder / "parts").mkdir(parents=True)
        for name, text in self.graphs.items():
            model = onnx.parser.parse_model(HEADER + text)
            self.edit(name, model)
            (folder / f"parts/{name}.onnx").write_bytes(model.SerializeToString())
        (folder / "sample.json").write_text(json.dumps(self.sample))
        (folder / "baseline.json").write_text(json.dumps(self.baseline))
        parts = [{"file": f"parts/{part['name']}.onnx", **part} for part in self.manifest["parts"]]
        write_manifest(folder, {**self.manifest, "parts": parts})
        return folder


@pytest.fixture
def recipe() -> Recipe:
    return Recipe()


@pytest.fixture
def package(recipe: Recipe, tmp_path: Path) -> Path:
    """The folder of a package that is right."""
    return recipe.write(tmp_path / "package")


@pytest.fixture
def golden() -> Path:
    """Files of format 1, which must be readable for as long as readers accept it."""
    return Path(__file__).parent / "golden"
