"""A package is what was trained, or it is not there at all."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor, parse_raw
from serinus.inspect import inspect_package
from serinus.package import digest_of, read_manifest
from serinus.training import Dataset, MMoE, Preprocess, Trained, export, fit
from serinus.training.graph import OPSET


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "version"


def test_a_package_answers_as_the_network_does(trained: Trained, validation: Dataset, folder: Path) -> None:
    manifest = export(trained, folder, validation=validation, provenance={"commit": "abc"})
    assert manifest == read_manifest(folder) == inspect_package(folder)
    assert manifest.task_names == ("click", "buy")
    assert [part.name for part in manifest.parts] == ["preprocess", "encoder", "head_click", "head_buy"]
    assert manifest.provenance["commit"] == "abc"
    assert {spec.name: spec.required for spec in manifest.inputs}["unused"] is False
    served = Executor(folder).run(validation.raw)
    for task, own in trained.predict(validation.raw).items():
        np.testing.assert_allclose(served[task], own, atol=1e-5)


def test_mixtures_have_an_embedding_for_each_task(
    train: Dataset, validation: Dataset, preprocess: Preprocess, folder: Path
) -> None:
    model = MMoE(experts=2, hidden=(8,), embedding_dim=2)
    trained = fit(train, validation, preprocess, tasks=["click", "buy"], model=model, epochs=1)
    manifest = export(trained, folder, validation=validation)
    assert manifest.parts[1].outputs == ("encoder.embedding_click", "encoder.embedding_buy")
    assert manifest.parts[3].inputs == ("encoder.embedding_buy",)
    served = Executor(folder).run(validation.raw, ["buy"])
    np.testing.assert_allclose(served["buy"], trained.predict(validation.raw)["buy"], atol=1e-5)


def test_the_sample_has_missing_values_and_words_never_seen(
    trained: Trained, validation: Dataset, folder: Path
) -> None:
    manifest = export(trained, folder, validation=validation)
    sample = json.loads((folder / "sample.json").read_text())
    assert len(sample["outputs"]["click"]) == 8
    assert None in sample["inputs"]["price"]
    assert None in sample["inputs"]["country"]
    assert set(sample["inputs"]["country"]) - {None, "BR", "DE", "US"}
    again = Executor(folder).run(parse_raw(manifest, sample["inputs"]))
    assert again["click"].tolist() == pytest.approx(sample["outputs"]["click"], abs=1e-6)


def test_the_baseline_is_what_was_measured(trained: Trained, validation: Dataset, folder: Path) -> None:
    export(trained, folder, validation=validation)
    baseline = json.loads((folder / "baseline.json").read_text())
    assert baseline["rows"] == len(validation)
    assert baseline["tasks"]["buy"]["auc"] == pytest.approx(trained.best.validation["buy"].auc)


def test_the_same_network_gives_the_same_digest(trained: Trained, validation: Dataset, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(trained, tmp_path / name, validation=validation)
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")


def test_every_part_takes_any_number_of_rows_and_stands_alone(
    trained: Trained, validation: Dataset, folder: Path
) -> None:
    export(trained, folder, validation=validation)
    assert sorted(path.suffix for path in (folder / "parts").iterdir()) == [".onnx"] * 4
    for path in (folder / "parts").iterdir():
        model = onnx.load(path)
        assert {o.version for o in model.opset_import if not o.domain} == {OPSET}
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.shape.dim[0].dim_param == "n"
    executor = Executor(folder)
    for rows in (1, 7, 1_000):
        found = executor.run(validation.take(slice(0, rows)).raw)
        assert found["click"].shape == (rows,)


class _Sly(torch.nn.Module):
    """What it does depends on the rows' values in a way that a graph cannot follow."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        logit: torch.Tensor = self.head(embedding)
        return logit if len(embedding) == 2 else -logit


def _sly(trained: Trained) -> Trained:
    network = copy.deepcopy(trained.network)
    network.heads[1] = _Sly(network.heads[1])
    return dataclasses.replace(trained, network=network)


def test_a_graph_that_cannot_follow_its_network_is_refused_and_nothing_is_left(
    trained: Trained, validation: Dataset, folder: Path
) -> None:
    with pytest.raises(InvalidPackage, match="task 'buy': graph and network differ"):
        export(_sly(trained), folder, validation=validation)
    assert list(folder.parent.iterdir()) == []


def test_weights_that_are_no_numbers_are_refused_and_nothing_is_left(
    trained: Trained, validation: Dataset, folder: Path
) -> None:
    network = copy.deepcopy(trained.network)
    with torch.no_grad():
        next(network.heads[0].parameters()).fill_(torch.nan)
    with pytest.raises(InvalidPackage, match="task 'click': the network gives NaN"):
        export(dataclasses.replace(trained, network=network), folder, validation=validation)
    assert list(folder.parent.iterdir()) == []


def test_a_version_is_never_overwritten(trained: Trained, validation: Dataset, folder: Path) -> None:
    export(trained, folder, validation=validation)
    before = digest_of(folder)
    with pytest.raises(BadInput, match="exists already"):
        export(trained, folder, validation=validation)
    assert digest_of(folder) == before
    assert list(folder.parent.iterdir()) == [folder]


def test_an_empty_folder_may_be_filled(trained: Trained, validation: Dataset, folder: Path) -> None:
    folder.mkdir()
    export(trained, folder, validation=validation)
    assert inspect_package(folder)


def test_the_quickstart_makes_a_package(folder: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", str(root / "examples/quickstart.py"), str(folder)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert inspect_package(folder).task_names == ("click", "buy")
