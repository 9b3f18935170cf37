"""A preflight over real logs with real graphs: what it finds, what it says, and that it can be killed anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitors.replay import run
from serinus.errors import BadInput, InvalidPackage
from serinus.preflights import PreflightResult
from tests.monitors import traffic


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Logs of past traffic, and packages by the name of their graph."""
    root = tmp_path_factory.mktemp("replay")
    traffic.write(root / "log", traffic.traffic())
    return root / "log", {name: traffic.package(root / name, name) for name in traffic.GRAPHS}


def found(job: Any, log: Path, state: Path, **more: Any) -> PreflightResult:
    return PreflightResult.model_validate(run(job, log, state, lambda _done, _said: None, **more))


def test_a_candidate_that_is_broken_for_one_country_is_rejected_by_name(world: Any, tmp_path: Path) -> None:
    log, made = world
    result = found(traffic.job_of(made["good"], made["broken"]), log, tmp_path)
    print(result.said)
    assert result.evidence.verdict == "violated"
    assert result.evidence.e >= result.evidence.limit == 100.0
    assert {cell.stream for cell in result.evidence.cells} == {"replay"}
    assert result.evidence.tick_ms <= traffic.T0 + traffic.MATURE_DAYS * traffic.DAY_MS


def test_its_twin_is_not_and_labels_that_take_a_week_are_used(world: Any, tmp_path: Path) -> None:
    log, made = world
    result = found(traffic.job_of(made["good"], made["twin"]), log, tmp_path)
    print(result)
    assert result.evidence.verdict != "violated"
    assert result.evidence.tick_ms == result.end_ms == traffic.T0 + traffic.MATURE_DAYS * traffic.DAY_MS
    assert result.requests == 9_000
    assert 4_000 < result.with_inputs < 5_000
    assert result.rows == result.with_inputs
    cells = {cell.name: cell for cell in result.evidence.cells}
    assert cells["stay / overall / auc"].labels == cells["click / overall / auc"].labels == result.rows
