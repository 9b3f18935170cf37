"""The manifest's plan: what a task needs, and nothing else, in an order that works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serinus.errors import InvalidPackage
from serinus.package import MANIFEST, FileEntry, Manifest, digest_of, read_manifest, sha256_of, write_manifest

FILE = FileEntry(sha256="0" * 64, size_bytes=0)
FILES = {"sample.json": FILE, "baseline.json": FILE, "parts/a.onnx": FILE}


def _manifest(reads: list[list[int]], asked: list[int], **changes: Any) -> Manifest:
    """A DAG of parts p0, p1, ...; part i gives t{i} and reads the tensors of `reads[i]` and the raw input x."""
    parts = [
        {
            "name": f"p{at}",
            "role": "mixer",
            "file": "parts/a.onnx",
            "inputs": ["x", *(f"t{i}" for i in needed)],
            "outputs": [f"t{at}"],
        }
        for at, needed in enumerate(reads)
    ]
    given_tasks = [{"name": f"k{at}", "kind": "binary", "output": f"t{at}", "base_rate": 0.5} for at in asked]
    inputs = [{"name": "x", "datatype": "FP32"}]
    body = {"inputs": inputs, "parts": parts, "tasks": given_tasks, "files": FILES, **changes}
    return Manifest.model_validate(body)


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    """Parts in a shuffled order: part i reads some of those that came before it in a hidden order."""
    size = draw(st.integers(1, 8))
    order = draw(st.permutations(range(size)))
    reads: list[list[int]] = [[] for _ in range(size)]
    for at, part in enumerate(order):
        reads[part] = draw(st.lists(st.sampled_from(order[:at]), unique=True)) if at else []
    tasks = draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True))
    return reads, tasks


def _needed(reads: list[list[int]], tasks: list[int]) -> set[int]:
    """The naive twin: grow until nothing is added."""
    found = set(tasks)
    while more := {i for at in found for i in reads[at]} - found:
        found |= more
    return found


@given(dags(), st.data())
def test_a_plan_has_what_the_asked_tasks_need_and_nothing_else(
    dag: tuple[list[list[int]], list[int]], data: st.DataObject
) -> None:
    reads, tasks = dag
    asked = data.draw(st.lists(st.sampled_from(tasks), min_size=1, unique=True))
    plan = _manifest(reads, tasks).plan([f"k{task}" for task in asked])
    assert sorted(part.name for part in plan) == sorted(f"p{at}" for at in _needed(reads, asked))
    ready = {"x"}
    for part in plan:
        assert ready >= set(part.inputs)
        ready |= set(part.outputs)


@given(dags(), st.data())
def test_a_cycle_is_refused(dag: tuple[list[list[int]], list[int]], data: st.DataObject) -> None:
    reads, tasks = dag
    start = data.draw(st.sampled_from(sorted(_needed(reads, tasks))))
    deepest = data.draw(st.sampled_from(sorted(_needed(reads, [start]))))
    reads[deepest] = [*reads[deepest], start]  # what start rests on now rests on start
    with pytest.raises(ValidationError, match="depends on itself"):
        _manifest(reads, tasks)


def test_a_long_chain_is_no_trouble() -> None:
    reads = [[at - 1] if at else [] for at in range(400)]
    assert len(_manifest(reads, [399]).plan(["k399"])) == 400


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inputs": [{"name": "x", "datatype": "FP32"}] * 2}, "input 'x' is declared twice"),
        ({"inputs": [{"name": "t0", "datatype": "FP32"}]}, "tensor 't0' has two sources"),
        ({"inputs": [{"name": "y", "datatype": "FP32"}]}, "part 'p0' reads tensor 'x', which nothing gives"),
        ({"files": {"sample.json": FILE, "parts/a.onnx": FILE}}, "baseline.json is not listed"),
        ({"files": {"sample.json": FILE, "baseline.json": FILE}}, "'parts/a.onnx', is not listed"),
        ({"files": {**FILES, "../../etc/passwd": FILE}}, "files"),
        ({"files": {**FILES, "parts/../../x": FILE}}, "files"),
        ({"inputs": [{"name": "X!", "datatype": "FP32"}]}, "inputs.0.name"),
        ({"format": 2}, "format"),
        ({"tasks": []}, "tasks"),
    ],
)
def test_a_manifest_says_what_is_wrong_with_it(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        _manifest([[]], [0], **changes)


def test_what_is_written_is_read_and_its_digest_is_that_of_the_manifest(package: Path) -> None:
    manifest = read_manifest(package)
    assert digest_of(package) == sha256_of(package / MANIFEST)
    assert set(manifest.files) == {
        "baseline.json",
        "sample.json",
        *(f"parts/{part}.onnx" for part in ("preprocess", "encoder", "head_click", "head_buy")),
    }


def test_the_same_files_give_the_same_digest_and_one_changed_byte_another(package: Path) -> None:
    before = digest_of(package)
    body = json.loads((package / MANIFEST).read_text())
    write_manifest(package, body)
    assert digest_of(package) == before
    (package / "baseline.json").write_text((package / "baseline.json").read_text() + "\n")
    with pytest.raises(InvalidPackage, match=r"baseline\.json was altered"):
        read_manifest(package)
    write_manifest(package, body)
    assert digest_of(package) != before
