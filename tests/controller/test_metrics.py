"""What the controller tells Prometheus: the same as its records, each family as it was declared, to viewers alone."""

from __future__ import annotations

import itertools
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from controller.figures import guards_of
from controller.services import Services
from controller.store import PackageStore
from serinus.evidence import HealthAlert, MonitorReport
from serinus.exposition import Page
from serinus.metrics import CONTROLLER
from serinus.rollouts import Phase
from tests.controller.served import bearer, give_tokens, serve, until

Series = dict[tuple[str, tuple[str, ...]], float]
RARE = {"serinus_reconcile_errors_total", "serinus_jobs", "serinus_guard_labels_missing"}
"""There only when something of that kind happened: made to happen in tests of their own."""


@pytest.fixture
def services(world: Any, tmp_path: Path) -> Iterator[Services]:
    made = Services(world.db, PackageStore(tmp_path / "packages"), clock=lambda: world.now)
    give_tokens(world.db)
    yield made
    made.door.last_used.stop()


def scraped(api: httpx.Client) -> Series:
    """(Name, values of its labels in the order that was declared) -> value; histograms by their count."""
    answer = api.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    declared = {each.name: each.labels for each in CONTROLLER}
    found: Series = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            name = sample.name.removesuffix("_count") if family.type == "histogram" else sample.name
            if name in declared:
                assert set(sample.labels) == set(declared[name]), name
                found[name, tuple(sample.labels[label] for label in declared[name])] = sample.value
            else:
                assert sample.name.endswith(("_bucket", "_sum", "_created")), sample.name
    return found


def test_metrics_say_what_the_records_say(world: Any, make: Any, services: Services) -> None:
    world.replicas(1, 2)
    rollout = world.start(2)
    assert services.reconciler.round()
    world.look(rollout, "inconclusive")
    alert = HealthAlert(key="a", model="ads", kind="labels", task="click", text="the source is silent")
    with serve(services) as api:
        api.post("/v1/monitor/exchange", json=MonitorReport(monitor="m1", alerts=(alert,)).model_dump(mode="json"))
        api.get("/v1/models/ads").raise_for_status()
        found = scraped(api)
        view = api.get(f"/v1/rollouts/{rollout}").json()
        look = api.get(f"/v1/rollouts/{rollout}/evidence/latest").json()
    assert found["serinus_model_version", ("ads", "stable")] == 1
    assert found["serinus_rollout_info", ("ads", rollout, "2", "1")] == 1
    phases = {phase for phase in Phase if found["serinus_rollout_phase", ("ads", phase.value)] == 1}
    assert phases == {Phase(view["phase"])}
    assert found["serinus_rollout_canary_ratio", ("ads",)] == view["canary_bp"] / 10_000
    assert found["serinus_rollout_log_e_threshold", ("ads",)] == pytest.approx(math.log(look["limit"]))
    for cell in look["cells"]:
        at = ("ads", cell["stream"], cell["task"], cell["slice"], cell["metric"])
        assert found["serinus_guard_margin", at] == cell["margin"]
        assert found["serinus_guard_estimate", at] == cell["estimate"]
        assert found["serinus_guard_labels_used", at] == cell["labels"]
    assert found["serinus_health_finding", ("ads", "click", "", "labels")] == 1
    assert found["serinus_replicas", ("default", "front", "live")] == 1
    assert found["serinus_replicas_behind", ("ads",)] == 3  # none has said that it applied a table
    assert found["serinus_database_up", ()] == 1
    assert found["serinus_api_requests_total", ("GET", "/v1/models/{model}", "200")] == 1


def test_a_rollback_is_counted_with_how_long_its_evidence_had_been_there(world: Any, services: Services) -> None:
    world.replicas(1, 2)
    rollout = world.start(2)
    services.reconciler.round()
    world.look(rollout, "violated")
    world.now += 2
    services.reconciler.round()
    with serve(services) as api:
        until(lambda: scraped(api)["serinus_active_controller", ()] == 1, "the lease to be held")
        until(lambda: scraped(api)["serinus_reconcile_duration_seconds", ()] > 0, "a turn")
        found = scraped(api)
    assert found["serinus_rollouts_ended_total", ("ads", "rolled_back")] == 1
    assert found["serinus_rollout_decision_seconds", ()] == 1
    assert max(value for (name, _), value in found.items() if name == "serinus_guard_verdict") == 3
    names = {name for name, _ in found}
    assert {each.name for each in CONTROLLER} - names - RARE <= {"serinus_health_finding"}


def test_only_who_may_look_may_scrape(services: Services) -> None:
    with serve(services) as api:
        for role, status in (("viewer", 200), ("replica", 403), ("monitor", 403)):
            assert api.get("/metrics", headers=bearer(f"{role}-token")).status_code == status
        assert api.get("/metrics", headers={"authorization": ""}).status_code == 401


def test_paths_that_somebody_makes_up_make_no_series(services: Services) -> None:
    with serve(services) as api:
        for number in range(30):
            api.get(f"/v1/none/{number}")
            api.get(f"/v1/models/made-up-{number}")
            api.request("BREW", f"/v1/{number}")
        routes = {labels for name, labels in scraped(api) if name == "serinus_api_requests_total"}
    assert routes <= {
        ("GET", "none", "404"),
        ("GET", "/v1/models/{model}", "404"),
        ("other", "none", "404"),
        ("GET", "/metrics", "200"),
    }


def test_a_lost_database_is_a_value_and_not_an_error(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Any:
        raise OperationalError("select 1", {}, OSError("it is gone"))

    with monkeypatch.context() as patch:
        patch.setattr(services.db, "read", gone)
        text = services.metrics.text().decode()
    assert "serinus_database_up 0.0" in text
    assert "serinus_rollout_info" not in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (apt-get install prometheus)")
def test_prometheus_own_tool_finds_nothing_wrong(world: Any, services: Services) -> None:
    world.replicas(1, 2)
    world.look(world.start(2))
    services.reconciler.round()
    text = services.metrics.text()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr


def test_as_many_series_as_the_page_of_metrics_says(make: Any) -> None:
    """10 models with 8 tasks and 20 slices, an AUC in shadow and canary for each: 8 series a guard."""
    page, slices = Page(), ["overall", *(f"s{number}" for number in range(20))]
    look = make.evidence("inconclusive")
    (cell, *_) = look.cells
    at = list(itertools.product(("shadow", "canary"), [f"t{number}" for number in range(8)], slices))
    cells = tuple(cell.model_copy(update={"stream": s, "task": t, "slice": w, "needs": 7}) for s, t, w in at)
    for number in range(10):
        guards_of(page, look.model_copy(update={"model": f"m{number}", "cells": cells}))
    assert sum(len(family.samples) for family in page.families()) == 10 * 8 * 2 * 8 * 21 == 26_880
