"""Files written in format 1, which must be read for as long as readers accept it. Never written anew: add new ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from serinus.evidence import Evidence
from serinus.execute import Executor
from serinus.ids import event_ms_of
from serinus.inspect import inspect_package
from serinus.package import digest_of
from serinus.records import LabelRow, Mark, PredictionRow, Score, read_rows
from serinus.rollouts import Phase, RolloutView
from serinus.routes import RouteTable, ServingPolicy
from serinus.sla import Sla


def test_the_package_is_accepted_and_still_answers(golden: Path) -> None:
    manifest = inspect_package(golden / "package")
    assert manifest.task_names == ("click", "buy")
    assert digest_of(golden / "package") == "3532f64af2507bd231e9efd5515d68f178cd773845c1bff6842eb78a225c1056"
    raw = {"price": np.array([1.0], np.float32), "country": np.array(["BR"], object)}
    assert abs(float(Executor(golden / "package").run(raw)["click"][0]) - 0.679178699) < 1e-6


def test_the_route_table(golden: Path) -> None:
    table = RouteTable.model_validate_json((golden / "route_table.json").read_bytes())
    assert (table.model, table.epoch, table.candidate) == ("ads", 12, {"click": 3, "buy": 3})
    assert (table.canary_bp, table.shadow_bp, table.expires_at) == (100, 10_000, 1_700_000_600.5)
    assert table.versions() == {1, 2, 3}
    assert table.packages[2].uri == "file:///packages/2"


def test_a_route_table_says_how_the_model_is_served_or_leaves_the_defaults(golden: Path) -> None:
    table = RouteTable.model_validate_json((golden / "route_table_serving.json").read_bytes())
    assert (table.heads["click"].budget_ms, table.heads["click"].fallback) == (1.5, "last_known_good")
    assert table.heads["buy"].fallback == 0.25
    assert (table.serving.timeout_ms, table.serving.log_share, table.serving.inputs_exclude) == (200, 0.5, ("email",))
    older = RouteTable.model_validate_json((golden / "route_table.json").read_bytes())
    assert (older.heads, older.serving) == ({}, ServingPolicy())


def test_the_rows_of_both_logs(golden: Path) -> None:
    predictions = [
        msgspec.msgpack.decode(payload, type=PredictionRow)
        for _, payload in read_rows((golden / "predictions.log").read_bytes())
    ]
    assert [(row.index, row.arm, row.entity) for row in predictions] == [(0, "canary", "user-7"), (1, "shadow", "")]
    assert event_ms_of(predictions[0].id) == 1_384_000_000_000
    buy = predictions[0].scores[1]
    assert (buy.task, buy.value, buy.version, buy.fallback) == ("buy", 0.5, 2, "stable")
    assert (predictions[0].slices, predictions[0].latency_us) == ({"country": "BR"}, 1843)
    labels = [
        msgspec.msgpack.decode(payload, type=LabelRow) for _, payload in read_rows((golden / "labels.log").read_bytes())
    ]
    assert [(row.index, row.task, row.value) for row in labels] == [(0, "click", 1.0), (1, "buy", 0.0)]
    assert labels[1].known_ms == 1_384_000_360_001


def test_rows_of_other_kinds_of_tasks_and_those_of_before_them(golden: Path) -> None:
    def scores(name: str) -> list[Score]:
        frames = read_rows((golden / name).read_bytes())
        return [s for _, each in frames for s in msgspec.msgpack.decode(each, type=PredictionRow).scores]

    amount, colour = scores("predictions_kinds.log")
    assert (amount.value, amount.classes) == (12.5, b"")
    assert (colour.value, np.frombuffer(colour.classes, "<f4").tolist()) == (0.5, [0.25, 0.5, 0.25])
    assert {score.classes for score in scores("predictions.log")} == {b""}


def test_the_mark(golden: Path) -> None:
    mark = msgspec.json.decode((golden / "mark.json").read_bytes(), type=Mark)
    assert mark.complete_to_ms == {"airline": 1_384_000_000_000}
    assert (mark.outstanding_ms, mark.lost) == (1_383_999_999_000, {"shadow": 2})


def test_the_evidence(golden: Path) -> None:
    evidence = Evidence.model_validate_json((golden / "evidence.json").read_bytes())
    assert (evidence.verdict, evidence.culprits) == ("violated", ("click / country=BR / auc",))
    assert evidence.cells[0].name == evidence.culprits[0]
    assert (evidence.cells[1].estimate, evidence.cells[1].why) == (None, "no label is mature yet")
    assert evidence.begun


def test_the_rollout(golden: Path) -> None:
    rollout = RolloutView.model_validate_json((golden / "rollout.json").read_bytes())
    assert rollout.phase is Phase.CANARY
    assert rollout.history[1].evidence == "ab" * 32
    assert [step.canary_bp for step in rollout.plan.steps] == [100, 1_000, 5_000]


def test_the_sla(golden: Path) -> None:
    sla = Sla.from_yaml((golden / "sla.yaml").read_text())
    assert sla.tasks["return"].given_task == ("click", 0)
    assert sla.horizon_s("buy") == 604_800
    assert [(cell.name, cell.role) for cell in sla.cells()] == [
        ("click / overall / auc", "required"),
        ("buy / country=BR / auc", "optional"),
        ("buy / country=DE / auc", "optional"),
        ("buy / country=US / auc", "optional"),
        ("return / overall / log_loss", "display"),
    ]
