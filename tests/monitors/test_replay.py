"""A preflight over real logs with real graphs: what it finds, what it says, and that it can be killed anywhere."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from monitors.replay import run
from serinus.errors import BadInput, InvalidPackage
from serinus.preflights import PreflightResult
from serinus.records import InputRow, PredictionRow
from serinus.routes import PackageRef
from serinus.sla import Sla
from tests.monitors import past_traffic as traffic

World = tuple[Path, dict[str, PackageRef]]
END_MS = traffic.T0 + traffic.MATURE_DAYS * traffic.DAY_MS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Logs of past traffic, and packages by the name of their graph."""
    root = tmp_path_factory.mktemp("replay")
    traffic.write(root / "log", traffic.traffic())
    return root / "log", {name: traffic.package(root / name, name) for name in traffic.GRAPHS}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Rows of few requests."""
    return traffic.traffic(requests=800)


def found(job: Any, log: Path, state: Path, **more: Any) -> PreflightResult:
    return PreflightResult.model_validate(run(job, log, state, lambda _done, _said: None, **more))


def test_a_candidate_that_is_broken_for_one_country_is_rejected(world: World, tmp_path: Path) -> None:
    log, made = world
    result = found(traffic.job_of(made["good"], made["broken"]), log, tmp_path)
    evidence = result.evidence
    assert evidence is not None
    assert evidence.verdict == "violated"
    assert evidence.e >= evidence.limit == 100.0
    assert any("auc" in culprit for culprit in evidence.culprits)
    assert {cell.stream for cell in evidence.cells} == {"replay"}
    assert evidence.tick_ms < END_MS, "it ends at the first look that rejects"
    aucs = {c.slice: c.estimate for c in evidence.cells if c.task == "click" and c.metric == "auc"}
    assert max(aucs, key=lambda name: aucs[name] or 0.0) == "country=XX"


def test_its_twin_is_not_and_labels_that_take_a_week_are_used(world: World, tmp_path: Path) -> None:
    log, made = world
    result = found(traffic.job_of(made["good"], made["twin"]), log, tmp_path)
    evidence = result.evidence
    assert evidence is not None
    assert evidence.verdict != "violated"
    assert evidence.tick_ms == result.end_ms == END_MS
    assert result.requests == 9_000
    assert result.rows == result.with_inputs == pytest.approx(4_500, abs=300)
    labels = {cell.task: cell.labels for cell in evidence.cells if cell.slice == "overall" and cell.metric == "auc"}
    assert labels == {"click": result.rows, "stay": result.rows}
    assert "of 9,000 requests" in result.said
    assert "as today's" in result.said


def test_scores_that_the_baseline_did_not_leave_in_the_log_are_computed(tmp_path: Path, small: list[Any]) -> None:
    """Every fifth row came from another version; where all did, the evidence is the same but for float32."""
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "twin")}
    job = traffic.job_of(made["good"], made["twin"])
    seen = []
    for number, version in enumerate((1, 3)):
        log = tmp_path / f"log{number}"
        traffic.write(log, [_by(row, version) for row in small])
        seen.append(found(job, log, tmp_path / f"state{number}"))
    logged, computed = (result.evidence for result in seen)
    assert logged is not None
    assert computed is not None
    assert seen[0].rows == seen[1].rows
    for a, b in zip(logged.cells, computed.cells, strict=True):
        assert a.labels == b.labels
        assert a.baseline_value == pytest.approx(b.baseline_value, abs=1e-4)


def _by(row: Any, version: int) -> Any:
    """Rows that version 1 answered, answered by another one, whose scores say nothing."""
    if not isinstance(row, PredictionRow) or row.scores[0].version != 1 or version == 1:
        return row
    scores = [msgspec.structs.replace(score, version=version, value=0.5) for score in row.scores]
    return msgspec.structs.replace(row, scores=scores)


class Killed(BaseException):
    pass


def killer(after: int) -> Callable[[float, str], None]:
    """Raises at the so-manieth call of progress."""
    calls = itertools.count()

    def progress(_done: float, _said: str) -> None:
        if next(calls) == after:
            raise Killed

    return progress


def test_killed_anywhere_it_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, small: list[Any]) -> None:
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "twin")}
    job, log = traffic.job_of(made["good"], made["twin"]), tmp_path / "log"
    traffic.write(log, small)
    whole = run(job, log, tmp_path / "whole", lambda _done, _said: None)
    state, ticks = tmp_path / "state", itertools.count()
    starts = 0
    for after in (3, 75, 5, 1, 20, 9, 2, 400):
        try:
            again = run(job, log, state, killer(after), clock=lambda: float(next(ticks)), save_every_s=3)
        except Killed:
            starts += 1
    assert starts == 7
    assert again == whole
    first = run(job, log, state, lambda _done, _said: None)
    assert first == whole, "what was done is not done again"


def test_a_state_that_is_damaged_is_made_again(tmp_path: Path, small: list[Any]) -> None:
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "twin")}
    job, log, state = traffic.job_of(made["good"], made["twin"]), tmp_path / "log", tmp_path / "state"
    traffic.write(log, small)
    whole = run(job, log, tmp_path / "whole", lambda _done, _said: None)
    with pytest.raises(Killed):
        run(job, log, state, killer(110), save_every_s=0)
    for name in ("replay", "survey.json"):
        (state / name).write_bytes((state / name).read_bytes()[:-7])
    assert run(job, log, state, lambda _done, _said: None) == whole


def test_order_files_and_rows_that_come_twice_change_nothing(tmp_path: Path, small: list[Any]) -> None:
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "twin")}
    job = traffic.job_of(made["good"], made["twin"])
    traffic.write(tmp_path / "log", small)
    traffic.write(tmp_path / "other", small[::-2], "w1")
    traffic.write(tmp_path / "other", [*small[-2::-2], *small[:300]], "w2")
    assert found(job, tmp_path / "log", tmp_path / "a") == found(job, tmp_path / "other", tmp_path / "b")


def test_rows_are_spread_evenly_when_there_are_too_many(world: World, tmp_path: Path) -> None:
    log, made = world
    result = found(traffic.job_of(made["good"], made["twin"], max_rows=1_000), log, tmp_path)
    assert result.rows == pytest.approx(1_000, abs=120)
    assert result.evidence is not None
    assert result.evidence.first_event_ms is not None
    assert result.evidence.first_event_ms < traffic.T0 + traffic.HOUR_MS, "from the first hour on"


def test_it_says_how_far_the_past_is_from_today(tmp_path: Path) -> None:
    made = {name: traffic.package(tmp_path / name, name, optional=("age",)) for name in ("good", "twin")}
    traffic.write(tmp_path / "log", traffic.traffic(requests=2_000, shift=1.5))
    result = found(traffic.job_of(made["good"], made["twin"]), tmp_path / "log", tmp_path / "state")
    apart = {(each.of, each.name): each.psi for each in result.differences}
    assert apart["input", "x"] > 0.5
    assert apart["score", "click"] > 0.25
    assert apart["input", "b"] < 0.1
    assert "they differ from today's (PSI): input x" in result.said


def _nothing_logged(rows: list[Any]) -> list[Any]:
    return [row for row in rows if not isinstance(row, InputRow)]


def _later(rows: list[Any]) -> list[Any]:
    return [row for row in rows if int.from_bytes(row.id[:6], "big") > END_MS]


@pytest.mark.parametrize(
    ("change", "serving", "why"),
    [
        (_nothing_logged, {"inputs_share": 0.5}, "none of them had its inputs logged"),
        (_nothing_logged, {}, "inputs_share is 0"),
        (_later, {"inputs_share": 0.5}, "none of them"),
        (list, {"inputs_share": 0.5, "inputs_exclude": ["a", "email"]}, "the models read a, which the SLA keeps out"),
    ],
)
def test_where_nothing_can_be_compared_it_says_why(
    tmp_path: Path, small: list[Any], change: Any, serving: Any, why: str
) -> None:
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "broken")}
    sla = Sla.model_validate({**traffic.SLA.model_dump(), "serving": serving})
    traffic.write(tmp_path / "log", change(small))
    result = found(traffic.job_of(made["good"], made["broken"], sla=sla), tmp_path / "log", tmp_path / "state")
    assert (result.evidence, result.rows) == (None, 0)
    assert why in result.why


def test_inputs_that_lack_something_or_say_nonsense_are_counted_by_reason(tmp_path: Path, small: list[Any]) -> None:
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "twin")}
    inputs = [row for row in small if isinstance(row, InputRow) and int.from_bytes(row.id[:6], "big") < END_MS]
    odd: dict[bytes, dict[str, Any]] = {
        inputs[0].id: {"tensors": inputs[0].tensors[1:]},
        inputs[1].id: {"tensors": [msgspec.structs.replace(each, shape=[7]) for each in inputs[1].tensors]},
        inputs[2].id: {"rows": 10**12},
        inputs[3].id: {"tensors": [msgspec.structs.replace(each, datatype="BYTES") for each in inputs[3].tensors]},
        inputs[4].id: {"tensors": [msgspec.structs.replace(each, data=b"\0\0\xc0\x7f") for each in inputs[4].tensors]},
    }
    rows = [msgspec.structs.replace(row, **odd.get(row.id, {})) if isinstance(row, InputRow) else row for row in small]
    traffic.write(tmp_path / "log", rows)
    result = found(traffic.job_of(made["good"], made["twin"]), tmp_path / "log", tmp_path / "state")
    assert result.rows == len(inputs) - 5
    assert result.unusable["the candidate refuses their inputs: input 'x' (FP32) is required"] == 1
    assert result.unusable["inputs of requests that cannot be read"] == 3
    assert result.unusable["the candidate gives no number"] == 1


def test_a_package_that_is_not_the_one_that_was_pushed_is_refused(world: World, tmp_path: Path) -> None:
    log, made = world
    folder = shutil.copytree(made["twin"].uri.removeprefix("file://"), tmp_path / "twin")
    ref = PackageRef(digest=made["twin"].digest, uri=folder.as_uri())
    (folder / "parts/h.onnx").write_bytes(b"altered")
    with pytest.raises(InvalidPackage, match="altered"):
        found(traffic.job_of(made["good"], ref), log, tmp_path / "a")
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(InvalidPackage, match="digest"):
        found(traffic.job_of(made["good"], ref), log, tmp_path / "b")


@pytest.mark.parametrize("uri", ["s3://bucket/x", "file:///a/../b", "file://elsewhere/x", "/x", "file:///a?x=1"])
def test_a_package_is_read_from_folders_of_this_machine_only(world: World, tmp_path: Path, uri: str) -> None:
    log, made = world
    with pytest.raises(BadInput, match="cannot be read"):
        found(traffic.job_of(made["good"], PackageRef(digest="0" * 64, uri=uri)), log, tmp_path)


@pytest.fixture
def spoilt(world: World) -> Callable[..., Any]:
    job = traffic.job_of(world[1]["good"], world[1]["twin"])
    return lambda **changes: job.model_copy(update={"params": {**job.params, **changes}})


def test_parameters_that_make_no_sense_are_refused_and_no_watermark_is_no_evidence(
    spoilt: Any, world: World, tmp_path: Path
) -> None:
    log = world[0]
    with pytest.raises(BadInput, match="item"):
        found(spoilt(item=None), log, tmp_path)
    with pytest.raises(BadInput, match="method 1"):
        found(spoilt(item={**spoilt().params["item"], "method": "1"}), log, tmp_path)
    assert "no label source" in found(spoilt(until_ms=None), log, tmp_path).why


def test_what_needs_no_label_is_shown_and_rejects_nothing(tmp_path: Path, small: list[Any]) -> None:
    """A broken head disagrees with the baseline; that alone is no reason, and what depends on the action neither."""
    made = {name: traffic.package(tmp_path / name, name) for name in ("good", "broken")}
    guards = [
        {"task": "stay", "metric": "auc", "margin": 0.01},
        {"task": "click", "metric": "agreement", "margin": 0.2, "role": "hold"},
        {"task": "click", "metric": "early_auc", "margin": 0.03, "role": "optional"},
    ]
    told = {**traffic.SLA.model_dump(), "guards": guards}
    told["tasks"]["stay"] = {**told["tasks"]["stay"], "label_depends_on_action": True}
    told["tasks"]["click"] = {**told["tasks"]["click"], "early_window_s": 600}
    job = traffic.job_of(made["good"], made["broken"], sla=Sla.model_validate(told))
    traffic.write(tmp_path / "log", small)
    evidence = found(job, tmp_path / "log", tmp_path / "state").evidence
    assert evidence is not None
    cells = {cell.name: cell for cell in evidence.cells}
    assert cells["click / overall / agreement"].estimate is not None
    assert cells["click / overall / early_auc"].labels > 0
    assert any("agreement" in held for held in evidence.holds)
    assert (cells["stay / overall / auc"].role, cells["stay / overall / auc"].weight) == ("hold", 0.0)
