"""A package becomes an engine only when every file and its own sample are right."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest import approx  # noqa: PT013 (short)

from serinus.errors import InvalidPackage
from serinus.routes import PackageRef, RouteTable
from serving.applied import Unfit, apply, run
from serving.runtime import load


def tensors(*rows: tuple[str, float, float]) -> dict[str, Any]:
    return {
        "origin": np.array([row[0] for row in rows], dtype=object),
        "delay": np.array([row[1] for row in rows], dtype=np.float32),
        "hour": np.array([row[2] for row in rows], dtype=np.float32),
    }


def test_it_computes_what_numpy_computes(packages: dict[int, PackageRef], tools: Any) -> None:
    rows = [("EWR", 5.0, 3.0), ("LGA", float("nan"), 20.0), ("nowhere", 0.5, 0.0)]
    found = load(packages[1]).run(tensors(*rows), ("late", "cancelled"))
    for task, (values, fallback) in found.items():
        wanted = [tools.expected(1, task, o, None if np.isnan(d) else d, h) for o, d, h in rows]
        assert (values.dtype, fallback) == (np.float32, "")
        assert values.tolist() == approx(wanted, rel=1e-4)


def test_only_the_parts_of_the_asked_tasks_run(packages: dict[int, PackageRef]) -> None:
    engine = load(packages[1])
    engine._steps["cancelled"] = dataclasses.replace(engine._steps["cancelled"], outputs=())
    engine._plans.clear()
    assert engine.run(tensors(("EWR", 1, 2)), ("late",)).keys() == {"late"}
    with pytest.raises(ValueError, match="longer"):
        engine.run(tensors(("EWR", 1, 2)), ("cancelled",))


def test_unknown_inputs_are_ignored_and_optional_ones_filled(packages: dict[int, PackageRef], tools: Any) -> None:
    engine = load(packages[1])
    given = tensors(("EWR", 0.0, 2.0)) | {"wind": np.array([3.0])}
    del given["delay"]
    given["hour"] = given["hour"].astype(np.int64)
    assert engine.run(given, ("late",))["late"].values[0] == approx(
        tools.expected(1, "late", "EWR", None, 2.0), rel=1e-4
    )
    with pytest.raises(ValueError, match="'hour' is missing"):
        engine.run({"origin": given["origin"]}, ("late",))
    with pytest.raises(ValueError, match="expected BYTES"):
        engine.run(given | {"origin": np.array([1.0])}, ("late",))


def test_one_row_stands_for_all_where_others_have_more(packages: dict[int, PackageRef], tools: Any) -> None:
    given = tensors(("EWR", 5.0, 3.0)) | {"hour": np.array([3.0, 4.0, 5.0], dtype=np.float32)}
    found = load(packages[1]).run(given, ("late",))["late"].values
    assert found.tolist() == approx([tools.expected(1, "late", "EWR", 5.0, h) for h in (3, 4, 5)], rel=1e-4)


def test_an_altered_file_is_refused(tmp_path: Path, tools: Any) -> None:
    ref = tools.write_package(tmp_path / "p", 3)
    part = tmp_path / "p" / "parts" / "late.onnx"
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidPackage, match=r"parts/late.onnx was altered"):
        load(ref)


def test_a_package_of_another_digest_is_refused(packages: dict[int, PackageRef]) -> None:
    with pytest.raises(InvalidPackage, match="has digest"):
        load(PackageRef(digest="0" * 64, uri=packages[1].uri))


def test_a_package_that_fails_its_own_sample_is_refused(tmp_path: Path, tools: Any) -> None:
    with pytest.raises(InvalidPackage, match="outputs of its own sample"):
        load(tools.write_package(tmp_path / "p", 3, spoil_sample=True))


def test_a_missing_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidPackage, match=r"manifest.json is missing"):
        load(PackageRef(digest="0" * 64, uri=(tmp_path / "none").as_uri()))


def test_a_table_may_mix_versions_by_task(packages: dict[int, PackageRef], tools: Any) -> None:
    table = RouteTable(model="m", epoch=1, stable={"late": 2, "cancelled": 1}, packages=packages)
    engines = {ref.digest: load(ref) for ref in packages.values()}
    applied = apply(table, engines)
    outputs = run(engines, tensors(("EWR", 1, 2)), applied.groups("stable", ("late", "cancelled")))
    assert [(o.task, o.version) for o in outputs] == [("late", 2), ("cancelled", 1)]
    assert outputs[0].values[0] == approx(tools.expected(2, "late", "EWR", 1.0, 2.0), rel=1e-4)
    assert outputs[1].values[0] == approx(tools.expected(1, "cancelled", "EWR", 1.0, 2.0), rel=1e-4)


def test_a_table_that_wants_a_task_which_a_version_lacks_is_unfit(packages: dict[int, PackageRef]) -> None:
    table = RouteTable(model="m", epoch=1, stable={"diverted": 1}, packages=packages)
    with pytest.raises(Unfit, match="has no task 'diverted'"):
        apply(table, {ref.digest: load(ref) for ref in packages.values()})
