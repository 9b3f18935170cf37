"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, feather
from pyarrow import parquet as pq

from serinus.cli import main
from serinus.client import Client
from serinus.errors import AlreadyActive, NotFound
from serinus.evidence import CellEvidence, Evidence
from serinus.rollouts import Move, Phase, Plan, RolloutView

Run = Callable[..., tuple[int, str, str]]
HOUR_MS = 3_600_000
APRIL_MS = 1_364_774_400_000


@pytest.fixture
def run(home: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command on the scripted stack: (exit code, stdout, stderr)."""
    monkeypatch.setenv("SERINUS_HOME", str(home.path))
    monkeypatch.setenv("COLUMNS", "250")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def cell(**changes: Any) -> CellEvidence:
    plain = {
        "stream": "shadow",
        "task": "arr_late",
        "slice": "origin=EWR",
        "metric": "auc",
        "role": "optional",
        "weight": 0.1,
        "margin": 0.03,
        "estimate": 0.0714,
        "low": 0.041,
        "high": 0.102,
        "e_violated": 512.0,
        "e_satisfied": 0.0,
        "verdict": "violated",
        "baseline_value": 0.731,
        "candidate_value": 0.66,
        "labels": 5123,
        "positives": 1203,
        "groups": 44,
    }
    return CellEvidence.model_validate({**plain, **changes})


def look(*cells: CellEvidence, **changes: Any) -> Evidence:
    plain = {
        "rollout": "r1",
        "model": "ads",
        "baseline": 1,
        "candidate": 2,
        "tick_ms": APRIL_MS + 9 * HOUR_MS,
        "watermark_ms": APRIL_MS + 9 * HOUR_MS,
        "first_event_ms": APRIL_MS,
        "e": 51.3,
        "limit": 20.0,
        "verdict": "violated",
        "culprits": ("arr_late / origin=EWR / auc",),
        "cells": cells,
    }
    return Evidence.model_validate({**plain, **changes})


def view(phase: Phase, *moves: Move, **changes: Any) -> RolloutView:
    plain = {
        "id": "r1",
        "model": "ads",
        "candidate": 2,
        "baseline": 1,
        "plan": Plan(),
        "phase": phase,
        "step": 0,
        "canary_bp": 100,
        "verdict": None,
        "waiting_for": "labels [of a day]",
        "history": moves,
        "started_at": 1.0,
        "started_event_ms": APRIL_MS,
    }
    return RolloutView.model_validate({**plain, **changes})


def move(to: Phase, why: str = "it is time", evidence: str | None = None) -> Move:
    return Move(at=1.0, event_ms=APRIL_MS, start=Phase.CANARY, to=to, why=why, actor="controller", evidence=evidence)


def said(word: Any) -> Any:
    return word.model_dump(mode="json")


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (Phase.DONE, 0),
        (Phase.ROLLED_BACK, 3),
        (Phase.ABORTED, 4),
        (Phase.SUPERSEDED, 5),
        (Phase.AWAITING_APPROVAL, 6),
    ],
)
def test_watching_a_rollout_ends_with_it_and_its_exit_code_tells_how(
    run: Run, server: Any, end: Phase, code: int
) -> None:
    first = view(Phase.CANARY, move(Phase.CANARY))
    last = view(end, move(Phase.CANARY), move(end, "because [of this]"))
    server.on("/v1/rollouts/r1", (200, said(first)), (200, said(first)), (200, said(last)))
    ended, out, _ = run("rollout", "watch", "r1")
    assert ended == code
    assert out.count("it is time") == 1
    assert f"{end}  because [of this]" in out


def test_a_model_stands_for_its_active_rollout_and_else_the_newest(run: Run, server: Any) -> None:
    server.on("/v1/rollouts/ads", (404, NotFound("no rollout 'ads'").problem()))
    old = view(Phase.DONE, id="r0", started_at=9.0)
    server.on("/v1/rollouts", (200, {"items": [said(old), said(view(Phase.CANARY))], "next": None}))
    assert json.loads(run("rollout", "show", "ads", "--json")[1])["id"] == "r1"
    server.on("/v1/rollouts", (200, {"items": [said(old), said(view(Phase.ABORTED))], "next": None}))
    assert json.loads(run("rollout", "show", "ads", "--json")[1])["id"] == "r0"


def test_giving_up_on_a_rollout_is_an_error_that_says_what_it_waits_for(run: Run, server: Any) -> None:
    server.on("/v1/rollouts/r1", (200, said(view(Phase.SHADOW))))
    code, _, err = run("rollout", "watch", "r1", "--timeout-s", "0")
    assert code == 7
    assert "labels [of a day]" in err


@pytest.mark.parametrize("command", ["pause", "resume", "approve", "skip", "abort", "rollback", "promote"])
def test_steering_sends_the_command_with_reason_and_actor(run: Run, server: Any, command: str) -> None:
    server.on("/v1/rollouts/r1", (200, said(view(Phase.CANARY))))
    server.on("/v1/rollouts/r1/commands", (200, said(view(Phase.PAUSED))))
    code, out, _ = run("rollout", command, "r1", "--reason", "a holiday")
    assert code == 0
    assert "paused" in out
    (sent,) = server.asked("/v1/rollouts/r1/commands")
    assert sent.json["command"] == command
    assert sent.json["reason"] == "a holiday"
    assert sent.json["actor"]


def test_explain_names_the_culprit_with_its_numbers_and_leaves_the_rest_out(run: Run, server: Any) -> None:
    other = cell(slice="origin=JFK", verdict="satisfied", estimate=0.001)
    needed = cell(slice="overall", role="required", verdict="inconclusive", why="too few labels", low=None, high=None)
    silent = cell(stream="canary", verdict="inconclusive", labels=0, positives=0, low=None, high=None)
    found = look(cell(), silent, other, needed)
    ended = view(Phase.ROLLED_BACK, move(Phase.ROLLED_BACK, "E is 51.3", found.digest), waiting_for="")
    server.on("/v1/rollouts/r1", (200, said(ended)))
    server.on("/v1/rollouts/r1/evidence", (200, {"evidence": [said(found)]}))
    code, out, _ = run("explain", "r1")
    assert code == 0
    lines = out.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("    arr_late / origin=EWR")]
    assert lines[at].endswith("0.731 -> 0.66 violated, carried this")
    for number in ("by 0.0714", "between 0.041 and 0.102", "e 512", "5,123 labels", "1,203 positives"):
        assert number in lines[at + 1]
    assert max(len(line) for line in lines) <= 120
    assert "origin=JFK" not in out
    assert "inconclusive" in out
    assert "too few labels" in out
    assert "E = 51.3, it rolls back at 20" in out
    machine = json.loads(run("explain", "r1", "--json")[1])
    assert machine["evidence"][0]["culprits"] == ["arr_late / origin=EWR / auc"]


def test_explain_recompute_says_equal_or_names_the_field_and_fails(run: Run, server: Any) -> None:
    found = look(cell())
    ended = view(Phase.ROLLED_BACK, move(Phase.ROLLED_BACK, "E is 51.3", found.digest), waiting_for="")
    server.on("/v1/rollouts/r1", (200, said(ended)))
    server.on("/v1/rollouts/r1/evidence", (200, {"evidence": [said(found)]}))
    job = {"id": "j1", "kind": "recompute", "model": "flights", "state": "done"}
    told = {"digest": found.digest, "tick_ms": found.tick_ms}
    server.on("/v1/jobs", (201, {**job, "state": "queued"}))
    server.on("/v1/jobs/j1", (200, {**job, "result": {**told, "equal": True}}))
    code, out, _ = run("explain", "r1", "--recompute")
    assert (code, server.asked("/v1/jobs")[0].json["params"]["evidence"]) == (0, said(found))
    assert "equal, to the last bit" in out
    differs = {**told, "equal": False, "field": "cells[0].e_violated", "reported": 512.0, "found": 511.0}
    server.on("/v1/jobs/j1", (200, {**job, "result": differs}))
    code, out, _ = run("explain", "r1", "--recompute")
    assert code == 1
    assert "NOT equal: cells[0].e_violated was reported as 512.0, and is 511.0" in out
    server.on("/v1/jobs/j1", (200, {**job, "state": "failed", "said": "the state is damaged"}))
    assert run("explain", "r1", "--recompute", "--json")[0] == 1
    altered = found.model_copy(update={"e": 51.4})
    server.on("/v1/rollouts/r1/evidence", (200, {"evidence": [said(altered)]}))
    code, out, _ = run("explain", "r1", "--recompute")
    assert code == 1
    assert "no evidence of this rollout has the digest" in out


def test_an_error_goes_to_stderr_with_what_to_do_and_exit_code_1(run: Run, server: Any) -> None:
    server.on("/v1/models/ads/rollouts", (409, AlreadyActive("rollout r1 of ads is active").problem()))
    code, out, err = run("rollout", "start", "ads", "2")
    assert code == 1
    assert out == ""
    assert "rollout r1 of ads is active" in err
    assert "rollout abort" in err


def test_a_rollout_starts_with_the_plan_of_a_file(run: Run, server: Any, tmp_path: Path) -> None:
    server.on("/v1/models/ads/rollouts", (201, said(view(Phase.PENDING))))
    plan = tmp_path / "plan.yaml"
    plan.write_text("shadow_hold_s: 60\nsteps: [{canary_bp: 100, hold_s: 60}]\n")
    assert run("rollout", "start", "ads", "2", "--plan", str(plan), "-m", "new")[0] == 0
    sent = server.seen[0].json
    assert sent["plan"]["shadow_hold_s"] == 60
    assert (sent["version"], sent["reason"]) == (2, "new")
    plan.write_text("shadow_hold: 60\n")
    code, _, err = run("rollout", "start", "ads", "2", "--plan", str(plan))
    assert code == 1
    assert "shadow_hold" in err


def test_apply_sends_the_sla_and_a_wrong_one_is_named_here(run: Run, server: Any, tmp_path: Path) -> None:
    server.on("/v1/models/ads", (200, {"model": "ads", "pool": "default"}))
    file = tmp_path / "sla.yaml"
    file.write_text("model: ads\ntasks: {click: {label_window_s: 60, absent: negative}}\n")
    code, out, _ = run("apply", "-f", str(file))
    assert code == 0
    assert "1 tasks" in out
    assert server.seen[0].json["sla"]["tasks"]["click"]["absent"] == "negative"
    file.write_text("model: ads\ntasks: {click: {label_window_s: 60, absent: maybe}}\n")
    code, _, err = run("apply", "-f", str(file))
    assert code == 1
    assert "tasks.click.absent" in err


def test_push_says_which_version_it_is(run: Run, server: Any, package: Path) -> None:
    server.on("/v1/models/ads/versions", (201, {"version": 4, "digest": "d" * 64, "created": False}))
    code, out, _ = run("push", "ads", str(package))
    assert code == 0
    assert "version 4, which was registered already" in out


def test_versions_show_their_aliases(run: Run, server: Any) -> None:
    rows = [{"version": n, "digest": f"{n}" * 64} for n in (1, 2)]
    server.on("/v1/models/ads/versions", (200, {"items": rows, "next": None}))
    server.on("/v1/models/ads", (200, {"model": "ads", "aliases": {"stable": 2, "previous": 1}}))
    _, out, _ = run("versions", "ads")
    assert [line.split()[:2] for line in out.replace("│", " ").splitlines() if "1111" in line] == [["1", "previous"]]
    assert json.loads(run("versions", "ads", "--json")[1])["aliases"] == {"stable": 2, "previous": 1}


def test_weights_are_shown_set_and_taken_back(run: Run, server: Any) -> None:
    line = {"number": 3, "weights": {"click": 0.5, "hide": -1.0}, "reason": "sales", "actor": "ann", "at": 1.0}
    server.on("/v1/models/ads/weights", (200, {"model": "ads", **line, "history": [line]}))
    code, out, _ = run("weights", "ads")
    assert code == 0
    assert "click=0.5 hide=-1" in out
    assert "sales" in out
    assert json.loads(run("weights", "ads", "--json")[1])["number"] == 3
    assert [each.method for each in server.seen] == ["GET", "GET"]
    assert run("weights", "ads", "click=0.5", "hide=-1", "--reason", "sales")[0] == 0
    assert run("weights", "ads", "--reset")[0] == 0
    sent = [each.json for each in server.seen if each.method == "PUT"]
    assert sent[0] == {"weights": {"click": 0.5, "hide": -1.0}, "reason": "sales", "actor": getpass.getuser()}
    assert sent[1]["weights"] == {}


@pytest.mark.parametrize(
    "words", [["click"], ["click=x"], ["click=1", "click=2"], ["a=101"], ["a=nan"], ["--reset", "a=1"]]
)
def test_weights_that_are_none_are_refused_here(run: Run, server: Any, words: list[str]) -> None:
    assert run("weights", "ads", *words)[0] == 1
    assert server.seen == []


def test_a_promotion_without_evidence_needs_a_reason(run: Run, server: Any) -> None:
    code, _, err = run("promote", "ads", "2")
    assert code == 1
    assert "--initial" in err
    assert server.seen == []
    server.on("/v1/models/ads/promote", (200, {}))
    assert run("promote", "ads", "2", "--initial")[0] == 0
    assert server.seen[0].json == {"version": 2, "reason": "", "initial": True, "actor": getpass.getuser()}


def test_rollback_ends_the_active_rollout_and_else_goes_to_the_previous_version(run: Run, server: Any) -> None:
    server.on("/v1/models/ads", (200, {"model": "ads", "aliases": {"stable": 1}, "rollout": "r1"}))
    server.on("/v1/rollouts/r1/commands", (200, said(view(Phase.ROLLED_BACK))))
    assert run("rollback", "ads", "-m", "users complain")[0] == 0
    assert server.asked("/v1/rollouts/r1/commands")[0].json["command"] == "rollback"
    server.on("/v1/models/ads", (200, {"model": "ads", "aliases": {"stable": 2, "previous": 1}}))
    server.on("/v1/models/ads/promote", (200, {}))
    assert run("rollback", "ads", "-m", "users complain")[0] == 0
    assert server.asked("/v1/models/ads/promote")[0].json["version"] == 1
    server.on("/v1/models/ads", (200, {"model": "ads", "aliases": {"stable": 1}}))
    assert run("rollback", "ads", "-m", "users complain")[0] == 1


def test_labels_of_a_file_are_handed_in_and_refused_lines_are_named(run: Run, server: Any, tmp_path: Path) -> None:
    file = tmp_path / "labels.ndjson"
    rows = [{"id": "a", "task": "click", "value": 1}, {"id": "b", "task": "clack", "value": 0, "known_ms": 5}]
    file.write_text("\n\n".join(json.dumps(row) for row in rows))
    server.on("/v1/labels", (200, {"accepted": 1, "refused": [{"row": 1, "why": "no task 'clack'"}]}))
    code, out, err = run("labels", "import", "ads", str(file))
    assert code == 1
    assert "1 labels accepted, 1 refused" in out
    assert "line 3: no task 'clack'" in err


def test_completeness_is_said_only_when_every_label_was_accepted(run: Run, server: Any, tmp_path: Path) -> None:
    file = tmp_path / "labels.ndjson"
    file.write_text(json.dumps({"id": "a", "task": "click", "value": 1}))
    complete = ("--source", "web", "--complete-to-ms", "77")
    server.on("/v1/labels", (200, {"accepted": 0, "refused": [{"row": 0, "why": "unknown id"}]}))
    assert run("labels", "import", "ads", str(file), *complete)[0] == 1
    assert all(b"complete_to" not in each.body for each in server.seen)
    server.on("/v1/labels", (200, {"accepted": 1, "refused": []}))
    assert run("labels", "import", "ads", str(file), *complete)[0] == 0
    assert server.seen[-1].json["complete_to"] == {"source": "web", "event_ms": 77}


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
def test_files_of_other_kinds_are_handed_in_with_their_model(
    run: Run, server: Any, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"labels.{ending}"
    table = pa.table({"id": ["a", "b"], "task": ["click", "clack"], "value": [1.0, 0.0]})
    write = {"parquet": pq.write_table, "arrow": feather.write_feather, "csv": csv.write_csv}
    write[ending](table, file)
    server.on("/v1/labels", (200, {"accepted": 1, "refused": [{"row": 1, "why": "no task 'clack'"}]}))
    code, out, err = run("labels", "import", "ads", str(file))
    assert code == 1
    assert "1 labels accepted, 1 refused" in out
    assert f"{'line 3' if ending == 'csv' else 'row 1'}: no task 'clack'" in err
    (sent,) = server.seen
    assert sent.path == "/v1/labels?model=ads"


def test_home_may_stand_before_the_command(run: Run, tmp_path: Path) -> None:
    code, _, err = run("--home", str(tmp_path / "other"), "status")
    assert code == 1
    assert "no local stack is up in" in err
    assert "other" in err


def test_ctrl_c_is_clean(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "rollouts", interrupted)
    code, _, err = run("rollout", "list")
    assert code == 130
    assert "Traceback" not in err


def test_wrong_usage_is_exit_code_2(run: Run) -> None:
    assert run("promote", "ads", "0")[0] == 2
    assert run("dance")[0] == 2


def test_health_shows_alerts_and_the_way_back(run: Run, server: Any) -> None:
    alert = {"key": "a", "model": "ads", "kind": "health", "text": "click: AUC 0.6 [worse]", "since_ms": 86_400_000}
    line = {"alert": alert, "raised_at": 1.0, "seen_at": 2.0, "resolved_at": None}
    view = {"model": "ads", "stable": 3, "previous": 2, "looked_at": 1.0, "alerts": [line]}
    server.on("/v1/models/ads/health", (200, view))
    code, out, _ = run("health", "ads")
    assert code == 0
    assert "click: AUC 0.6 [worse]" in out
    assert 'serinus rollback ads --reason "..."' in out
    assert json.loads(run("health", "ads", "--json")[1])["alerts"][0]["alert"]["key"] == "a"
    server.on("/v1/models/ads/health", (200, {**view, "alerts": [{**line, "resolved_at": 3.0}]}))
    code, out, _ = run("health", "ads")
    assert "no alert" in out
    assert "resolved" in out
    assert "rollback" not in out
