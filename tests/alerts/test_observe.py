"""`make observe`: what it asks of Prometheus and Alertmanager, and what it says when there is nothing to observe."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy.observe import main
from deploy.observe_settings import Times, write_settings
from serinus.home import Stack
from tests.alerts.rulebook import RULES

STACK = Stack(
    stack="s",
    pid=1,
    api="http://127.0.0.1:1",
    serving="http://127.0.0.1:2",
    token_file="/tokens/admin.token",
    replay_token_file="/tokens/replay.token",
    metrics={"controller": "http://127.0.0.1:1/metrics", "serving": "http://127.0.0.1:3/metrics"},
)


def test_only_the_controller_is_shown_the_token(tmp_path: Path) -> None:
    write_settings(tmp_path, STACK, "127.0.0.1:9", "", Times())
    text = (tmp_path / "prometheus.yml").read_text()
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    assert set(jobs) == {"serinus-controller", "serinus-serving"}
    assert jobs["serinus-controller"]["authorization"] == {"credentials_file": "/tokens/admin.token"}
    assert "authorization" not in jobs["serinus-serving"]
    assert jobs["serinus-serving"]["static_configs"] == [{"targets": ["127.0.0.1:3"]}]


def test_runbooks_lead_to_files_and_alerts_to_the_webhook(tmp_path: Path) -> None:
    write_settings(tmp_path, STACK, "127.0.0.1:9", "http://127.0.0.1:8/", Times())
    for path in RULES:
        for line in (tmp_path / "rules" / path.name).read_text().splitlines():
            if "runbook_url:" in line:
                assert Path(line.split("file://")[1]).is_file(), line
    told = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    assert {receiver["webhook_configs"][0]["url"] for receiver in told["receivers"]} == {"http://127.0.0.1:8/"}


def test_without_a_stack_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path)]) == 1
    assert "serinus up" in capsys.readouterr().err
