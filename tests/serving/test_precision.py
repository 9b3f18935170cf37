"""An INT8 version beside the FP32 version that it was made from: as candidate, and as its shadow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serinus.execute import Executor
from serinus.inspect import inspect_package
from serinus.package import digest_of
from serinus.routes import PackageRef
from serinus.training.quantize import quantize
from tests.pool.wide import TASKS, WIDTH, rows, write_wide

COUNT = 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Version 5 is FP32, version 6 the same model in INT8."""
    root = tmp_path_factory.mktemp("precision")
    wide = write_wide(root / "5")
    quantize(wide, root / "6", "int8", rows={"x": rows(500)})
    return {5: wide, 6: root / "6"}


def asked(stack: Any, entity: str) -> dict[str, Any]:
    x = rows(COUNT, seed=7)
    tensor = {"name": "x", "shape": [COUNT, WIDTH], "datatype": "FP32", "data": x.ravel().tolist()}
    answer = stack.http.post("/v2/models/flights/infer", json={"inputs": [tensor], "parameters": {"entity": entity}})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("canary_bp", [1_000, 10_000])
def test_an_int8_version_is_candidate_and_its_fp32_parent_the_shadow(
    stack: Any, tools: Any, folders: dict[int, Path], canary_bp: int
) -> None:
    for folder in folders.values():
        inspect_package(folder)
    packages = {number: PackageRef(digest=digest_of(f), uri=f.as_uri()) for number, f in folders.items()}
    stack.route(
        stable=dict.fromkeys(TASKS, 5),
        candidate=dict.fromkeys(TASKS, 6),
        packages=packages,
        canary_bp=canary_bp,
        shadow_bp=10_000,
        expires_at=4e9,
        rollout="narrow",
    )
    expected = {number: Executor(folder).run({"x": rows(COUNT, seed=7)}) for number, folder in folders.items()}
    assert all(np.abs(expected[5][task] - expected[6][task]).max() > 1e-5 for task in TASKS)
    answers = {found["parameters"]["arm"]: found for found in (asked(stack, f"e{at}") for at in range(200))}
    versions = {arm: 6 if arm == "canary" else 5 for arm in answers}
    assert "canary" in answers
    for arm, answer in answers.items():
        for output in answer["outputs"]:
            assert output["parameters"] == {"version": versions[arm], "fallback": ""}
            np.testing.assert_allclose(output["data"], expected[versions[arm]][output["name"]], atol=1e-6)
        identity = answer["parameters"]["request_id"].replace("-", "")

        def shadows(identity: str = identity) -> list[Any]:
            return [row for row in stack.predictions() if row.id.hex() == identity and row.arm == "shadow"]

        other = 11 - versions[arm]
        found = tools.wait_for(shadows)
        assert [row.index for row in found] == list(range(COUNT))
        for score in found[2].scores:
            assert (score.version, score.fallback) == (other, "")
            assert score.value == pytest.approx(expected[other][score.task][2], abs=1e-6)
