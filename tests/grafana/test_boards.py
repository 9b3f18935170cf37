"""The dashboards: as committed, of declared metrics, in PromQL that Prometheus understands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from serinus.grafana.boards import boards, written
from serinus.metrics import ALL
from tests.grafana.standin import of_type

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"


def queries() -> Iterator[tuple[str, str, str]]:
    """(Dashboard, panel, PromQL)."""
    for uid, board in boards().items():
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield uid, panel["title"], target["expr"]


def test_the_files_are_what_the_code_makes() -> None:
    on_disk = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert on_disk == written(), "run `python -m serinus.grafana.boards deploy/grafana/dashboards`"


def test_each_is_one_by_the_types_of_grafana() -> None:
    assert len(boards()) == 6
    for uid, board in boards().items():
        of_type(dict(board))
        assert board["uid"] == uid
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_metric_is_declared_and_every_declared_one_is_shown() -> None:
    declared = {each.name: set(each.labels) | {"le"} for each in ALL}
    shown = set()
    for uid, title, expr in queries():
        for name in re.findall(r"\bserinus_\w+", expr):
            family = name if name in declared else re.sub(r"_(bucket|count|sum)$", "", name)
            assert family in declared, f"{uid} / {title}: {name}"
            shown.add(family)
        for labels in re.findall(r"\bby \(([^)]*)\)", expr):
            known = set().union(*(declared[each] for each in declared if each in expr)) | {"instance"}
            assert {label.strip() for label in labels.split(",")} <= known, f"{uid} / {title}: by ({labels})"
    assert declared.keys() - shown == {
        "serinus_rollout_phase_since_timestamp_seconds",
        "serinus_evidence_maturity_timestamp_seconds",
        "serinus_route_epoch",
    }


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here (apt-get install prometheus)")
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": f"q{number}", "expr": expr.replace("$model", "m")} for number, (_, _, expr) in enumerate(queries())
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout
