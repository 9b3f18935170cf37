"""A narrower package answers nearly the same, row by row, and says what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from serinus.cli import main
from serinus.errors import BadInput, InvalidPackage
from serinus.execute import Executor
from serinus.inspect import inspect_package
from serinus.package import digest_of
from serinus.training import Dataset, Trained, auc, export
from serinus.training import quantize as quantizing
from serinus.training.quantize import quantize

LEAST = 512


@pytest.fixture(scope="module")
def wide(trained: Trained, validation: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide") / "package"
    export(trained, folder, validation=validation, provenance={"note": "the wide one"})
    return folder


@pytest.fixture(scope="module", params=["int8", "fp16"])
def narrow(wide: Path, validation: Dataset, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    out = tmp_path_factory.mktemp("narrow") / request.param
    quantize(wide, out, request.param, rows=validation.raw, least_weights=LEAST)
    return out


def test_it_is_a_package_that_names_its_parent(wide: Path, narrow: Path) -> None:
    manifest = inspect_package(narrow)
    assert manifest.precision == narrow.name
    assert manifest.provenance["quantized_from"] == digest_of(wide)
    assert manifest.provenance["note"] == "the wide one"
    assert manifest.tasks == Executor(wide).manifest.tasks
    apart = json.loads((narrow / "baseline.json").read_text())["apart"]
    assert set(apart) == {"click", "buy"}


def test_it_answers_nearly_the_same_and_ranks_as_well(wide: Path, narrow: Path, validation: Dataset) -> None:
    before, after = Executor(wide).run(validation.raw), Executor(narrow).run(validation.raw)
    told = json.loads((narrow / "baseline.json").read_text())["apart"]
    for task, labels in validation.labels.items():
        apart = np.abs(before[task] - after[task])
        assert 0 < apart.mean() < (1e-2 if narrow.name == "int8" else 1e-3)
        assert told[task]["max"] == pytest.approx(apart.max(), rel=1e-3)
        assert auc(labels, after[task]) == pytest.approx(auc(labels, before[task]), abs=2e-3)


def test_the_answer_to_a_row_does_not_depend_on_the_rows_beside_it(narrow: Path, validation: Dataset) -> None:
    executor, rows = Executor(narrow), validation.take(slice(0, 50)).raw
    together = executor.run(rows)
    for at in range(50):
        alone = executor.run({name: column[at : at + 1] for name, column in rows.items()})
        assert all(abs(alone[task][0] - together[task][at]) < 1e-6 for task in together)


def test_large_products_are_narrow_and_the_rest_is_as_it_was(wide: Path, narrow: Path) -> None:
    for part in Executor(narrow).manifest.parts:
        before, after = (onnx.load(folder / part.file) for folder in (wide, narrow))
        kinds = {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in after.graph.initializer}
        if part.role == "encoder":
            assert ("INT8" if narrow.name == "int8" else "FLOAT16") in kinds
        elif part.role == "preprocess":
            assert before == after
        assert [value.name for value in after.graph.output] == list(part.outputs)


def test_a_model_too_small_is_left_alone_and_nothing_remains(wide: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no part has a matrix"):
        quantize(wide, tmp_path / "out", "int8")
    assert list(tmp_path.iterdir()) == []


def test_answers_too_far_apart_are_refused(wide: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidPackage, match="apart on average"):
        quantize(wide, tmp_path / "out", "int8", least_weights=LEAST, mean_apart=1e-7)
    assert list(tmp_path.iterdir()) == []


def test_it_begins_with_fp32_and_overwrites_nothing(wide: Path, narrow: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="already"):
        quantize(narrow, tmp_path / "out", "int8")
    with pytest.raises(BadInput, match="exists already"):
        quantize(wide, narrow, "int8")


def test_the_command_learns_from_rows_of_a_file(
    wide: Path, validation: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantizing, "LEAST_WEIGHTS", LEAST)
    lines = []
    for at in range(200):
        row = {name: column[at].item() if name != "country" else column[at] for name, column in validation.raw.items()}
        lines.append(json.dumps({name: None if value != value else value for name, value in row.items()}))
    (tmp_path / "rows.ndjson").write_text("\n".join(lines))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["quantize", str(wide), "--out", str(out), "--rows", str(tmp_path / "rows.ndjson"), "--json"])
    assert not ended.value.code
    said = json.loads(capsys.readouterr().out)
    assert (said["precision"], said["digest"]) == ("int8", digest_of(out))
    assert 0 < said["apart"]["click"]["mean"] < 1e-2
    (tmp_path / "rows.ndjson").write_text("[]")
    with pytest.raises(SystemExit):
        main(["quantize", str(wide), "--out", str(tmp_path / "no"), "--rows", str(tmp_path / "rows.ndjson")])
    assert "line 1" in capsys.readouterr().err
