"""`serinus plan`, `backtest` and `jobs`: what they ask, print, and how they end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serinus.cli import main
from serinus.client import Client
from serinus.client.blocking import jobs as client_jobs
from serinus.errors import NotAllowed, NotFound
from serinus.jobs import Job

Run = Callable[..., tuple[int, str, str]]

PLAN = {
    "model": "ads",
    "candidate": None,
    "from": "logs",
    "answers_per_day": 10_000.0,
    "tasks": {
        "click": {
            "labels_per_day": 10_000.0,
            "positives_per_day": 200.0,
            "base_rate": 0.02,
            "auc": 0.81,
            "correlation": 0.95,
            "correlation_from": "prior",
            "label_days": 2.0,
        }
    },
    "alpha": 0.05,
    "max_days": 60.0,
    "promotion": {"days": [7.0, None], "least_days": 7.0, "waits_for": "click / overall / auc"},
    "guards": [
        {
            "name": "click / overall / auc",
            "stream": "shadow",
            "role": "required",
            "margin": 0.01,
            "unit": "positives",
            "promote": {"count": 433.1, "days": [4.17, 17.2]},
            "catch": {"size": 0.03, "count": 174.6, "days": [2.9, 8.1]},
            "decidable": "yes",
            "why": "",
            "helps": [],
        },
        {
            "name": "click / country=BR / auc",
            "stream": "shadow",
            "role": "optional",
            "margin": 0.03,
            "unit": "positives",
            "promote": None,
            "catch": {"size": 0.09, "count": None, "days": [None, None]},
            "decidable": "never",
            "why": "too [few] of them",
            "helps": ["drop it: role display"],
        },
    ],
    "undecidable": [],
    "small": [{"task": "click", "slice": "country=BR", "positives": 12.0, "missing": 388.0}],
    "memory": {
        "bytes": 600 << 20,
        "kept_bytes": 500 << 20,
        "limit_bytes": 512 << 20,
        "fewer_bins": ["x / y (canary)"],
    },
    "shocks": [4.0, 7.0],
}
BACKTEST = {
    "model": "ads",
    "start_ms": 1_364_774_400_000,
    "end_ms": 1_367_193_600_000,
    "run_days": 14.0,
    "tick_s": 3600,
    "alpha": 0.05,
    "false_rollbacks": {"count": 0, "of": 12, "at_most": 0.221},
    "scenarios": [
        {"name": "twin", "null": True, "runs": 12, "judged": 12, "rolled_back": 0, "days": None, "labels": None,
         "satisfied": 3, "satisfied_days": 8.5, "culprits": {}},
        {"name": "auc:0.05@click", "null": False, "runs": 4, "judged": 3, "rolled_back": 3, "days": [1.0, 2.5, 6.0],
         "labels": 940, "satisfied": 0, "satisfied_days": None, "culprits": {"click / overall / auc": 3}},
    ],
    "runs": [],
}  # fmt: skip


@pytest.fixture
def run(home: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SERINUS_HOME", str(home.path))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(client_jobs, "EVERY_S", 0.0)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def job(state: str, **changes: Any) -> dict[str, Any]:
    told = {"id": "j1", "kind": "plan", "model": "ads", "state": state, "actor": "ann", "created_at": 1.0, **changes}
    return Job.model_validate(told).model_dump(mode="json")


def script(server: Any, *states: dict[str, Any]) -> None:
    server.on("/v1/jobs", (201, states[0]))
    server.on("/v1/jobs/j1", *((200, state) for state in states))


def test_a_plan_is_asked_for_waited_for_and_told(run: Run, server: Any) -> None:
    script(server, job("queued"), job("running", progress=0.5, said="half"), job("done", result=PLAN))
    code, out, err = run("plan", "ads", "--candidate", "3", "--regression", "0.05", "--days", "7")
    assert (code, err) == (0, "")
    asked = server.asked("/v1/jobs")[0].json
    assert (asked["kind"], asked["model"]) == ("plan", "ads")
    assert asked["params"] == {"candidate": 3, "regression": 0.05, "days": 7.0}
    for words in (
        "10,000 answers a day (logs)",
        "4.2 to 17.2 d, 433 positives",
        "0.03: 2.9 to 8.1 d, 175 positives",
        "0.09: never",
        "click / country=BR / auc (shadow): too [few] of them; it would help: drop it: role display",
        "12 positives in the longest rollout, 388 more",
        "promotion after 7.0 d or never (not before 7), the slowest is click / overall / auc",
        "4 to 7 times",
        "500 MiB at most, of 512",
        "x / y (canary)",
    ):
        assert words in out, words


def test_options_stand_in_for_the_logs(run: Run, server: Any, tmp_path: Path) -> None:
    script(server, job("done", result=PLAN))
    file = tmp_path / "sla.yaml"
    file.write_text("model: ads\ntasks: {click: {label_window_s: 60, absent: negative}}\n")
    code, out, _ = run("plan", "ads", "--per-day", "1000", "--base-rate", "click=0.1", "--sla", str(file), "--json")
    assert code == 0
    assert json.loads(out) == PLAN
    params = server.asked("/v1/jobs")[0].json["params"]
    assert (params["per_day"], params["base_rate"]) == (1000.0, {"click": 0.1})
    assert params["sla"]["tasks"]["click"]["label_window_s"] == 60
    code, _, err = run("plan", "ads", "--base-rate", "often")
    assert code == 1
    assert "expected 0.02, or TASK=0.02" in err


def test_a_backtest_is_told_with_its_bound(run: Run, server: Any) -> None:
    script(server, job("running", kind="backtest"), job("done", kind="backtest", result=BACKTEST))
    code, out, _ = run("backtest", "ads", "--weeks", "4", "--inject", "auc:0.05@click", "--inject", "failures:0.1")
    assert code == 0
    assert server.asked("/v1/jobs")[0].json["params"]["inject"] == ["auc:0.05@click", "failures:0.1"]
    for words in (
        "2013-04-01 00:00 to 2013-04-29 00:00",
        "stable against itself",
        "2.5 (1.0 to 6.0)",
        "click / overall / auc",
        "false rollbacks: 0 of 12; by these runs the rate is at most 22.1%",
        "1 runs had too few labels",
    ):
        assert words in out, words


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_job_that_ends_otherwise_is_an_error_that_says_why(run: Run, server: Any, state: str) -> None:
    script(server, job("queued"), job(state, said="no [mature] label"))
    code, _, err = run("plan", "ads")
    assert code == 1
    assert f"{state}: no [mature] label" in err


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(
    run: Run, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(server, job("running"))

    def interrupted(_self: Any, _job: str, _told: Any) -> Job:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "job_wait", interrupted)
    code, _, err = run("backtest", "ads")
    assert code == 130
    assert "job j1 goes on" in err
    assert "serinus jobs show j1 --wait" in err
    assert server.asked("/v1/jobs/j1/cancel") == []


def test_jobs_are_listed_shown_and_cancelled(run: Run, server: Any) -> None:
    running = job("running", progress=0.25, said="run 1 of 4: [twin]", worker="monitor-0")
    items = [running, job("failed", id="j0", said="no\nlast line")]
    server.on("/v1/jobs", (200, {"items": items, "next": None}))
    server.on("/v1/jobs/j1", (200, running), (200, running), (200, job("done", result=PLAN)))
    server.on("/v1/jobs/j1/cancel", (200, job("cancelled")))
    code, out, _ = run("jobs", "list", "ads")
    assert code == 0
    assert server.asked("/v1/jobs")[0].path == "/v1/jobs?model=ads"
    assert "25%" in out
    assert "run 1 of 4: [twin]" in out
    assert "last line" in out
    assert "25% done, by monitor-0" in run("jobs", "show", "j1")[1]
    assert "promotion after" in run("jobs", "show", "j1", "--wait")[1]
    assert json.loads(run("jobs", "show", "j1", "--json")[1])["state"] == "done"
    assert "job j1 is cancelled" in run("jobs", "cancel", "j1")[1]
    server.on("/v1/jobs/j9", (404, NotFound("there is no job 'j9'").problem()))
    assert run("jobs", "show", "j9")[0] == 1


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_an_erasure_that_nobody_confirms_is_not_asked_for(
    run: Run, server: Any, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert run("logs", "erase", "ads", "--entity", "ann@example.org")[0] == 1
    assert server.seen == []


def test_an_erasure_is_done_on_yes(run: Run, server: Any) -> None:
    words = ("logs", "erase", "ads", "--entity", "ann@example.org")
    script(server, job("queued", kind="erase"), job("done", kind="erase", result={"rows": 7}))
    code, out, _ = run(*words, "--yes")
    assert (code, "rows: 7" in out) == (0, True)
    asked = server.asked("/v1/jobs")[0].json
    assert (asked["kind"], asked["model"], asked["params"]["entity"]) == ("erase", "ads", "ann@example.org")
    script(server, job("done", kind="erase", result={"rows": 7}))
    code, out, err = run(*words, "--yes", "--json")
    assert (code, err, json.loads(out)["result"]) == (0, "", {"rows": 7})


def test_an_erasure_that_is_refused_says_who_may(run: Run, server: Any) -> None:
    server.on("/v1/jobs", (403, NotAllowed("token 'eve' has role engineer; to erase needs admin").problem()))
    code, _, err = run("logs", "erase", "ads", "--entity", "x", "--yes")
    assert (code != 0, "to erase needs admin" in err) == (True, True)
