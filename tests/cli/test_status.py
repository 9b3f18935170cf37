"""`serinus status` says what needs a person before anything else; Tab and Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from serinus.cli import complete, main, watching
from serinus.client import Client
from serinus.rollouts import Move, Phase, Plan, RolloutView

Run = Callable[..., tuple[int, str, str]]
MODEL = {"model": "ads", "pool": "default", "aliases": {"stable": 1}, "watermark_ms": 7_200_000}
STATUS = {
    "models": [MODEL, {**MODEL, "model": "new", "aliases": {}}],
    "rollouts": [{"id": "r1"}],
    "replicas": [
        {
            "replica": "front-1",
            "pool": "default",
            "role": "front",
            "live": True,
            "failed": {"d" * 64: "out of [memory]"},
        },
        {"replica": "candidate-1", "pool": "default", "role": "candidate", "live": False},
        {"replica": "shadow-1", "pool": "default", "role": "shadow", "live": True},
    ],
    "monitors": [{"monitor": "m1", "live": False}],
    "acting": True,
    "you": "operator",
}


ALERT = {"key": "a", "model": "ads", "kind": "labels", "text": "the source web is silent"}


def rollout(phase: Phase, **changes: Any) -> dict[str, Any]:
    move = Move(at=1.0, event_ms=3_600_000, start=Phase.RAMP, to=phase, why="overdue", actor="controller")
    plain = {"id": "r1", "model": "ads", "candidate": 2, "baseline": 1, "plan": Plan(), "phase": phase, "step": 1,
             "canary_bp": 1_000, "verdict": "inconclusive", "waiting_for": "click / overall / auc", "history": (move,),
             "started_at": 1.0, "started_event_ms": 0}  # fmt: skip
    return RolloutView.model_validate({**plain, **changes}).model_dump(mode="json")


@pytest.fixture
def run(home: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SERINUS_HOME", str(home.path))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def troubled(server: Any) -> Any:
    """A server of a bad day, which answers one question only."""
    held = {**rollout(Phase.AWAITING_APPROVAL), "holds": ["weather is stale"]}
    alerts = [{"alert": ALERT, "raised_at": 1.0}]
    server.on("/v1/status", (200, {**STATUS, "rollouts": [held], "alerts": alerts, "alerts_in_all": 1}))
    return server


def test_what_needs_me_comes_first_and_the_gravest_before_the_rest(run: Run, troubled: Any) -> None:
    found = json.loads(run("status", "--json")[1])["needs_me"]
    assert len(troubled.seen) == 1
    assert [each["what"] for each in found] == [
        "awaits approval",
        "held",
        "alert: labels",
        "replica fails",
        "replica missing",
        "no monitor",
        "serves nothing",
    ]
    assert "rollout approve" in found[0]["do"]
    code, out, _ = run("status")
    assert code == 0
    order = ["Needs you (7)", "weather is stale", "out of [memory]", "Rollouts", "10 %", "1.0 h", "Models"]
    places = [out.index(word) for word in order]
    assert places == sorted(places)


def test_a_quiet_day_says_so(run: Run, server: Any) -> None:
    fronts = [{"replica": f"f{n}", "pool": "default", "role": "front", "live": n > 0} for n in range(3)]
    quiet = {
        **STATUS,
        "models": [MODEL],
        "rollouts": [],
        "replicas": fronts,
        "monitors": [{"monitor": "m", "live": True}],
    }
    server.on("/v1/status", (200, quiet))
    said = run("status")[1]
    assert "nothing needs you" in said
    assert "replicas: 2 front; monitors: 1" in said


def test_a_dry_run_that_found_something_needs_someone(run: Run, server: Any) -> None:
    waits = "a person: this is a dry run, else it would have been rolled back: violated: click / overall / auc"
    rehearsal = {**rollout(Phase.RAMP, waiting_for=waits), "look": "violated"}
    server.on("/v1/status", (200, {**STATUS, "models": [MODEL], "rollouts": [rehearsal]}))
    (found,) = [each for each in json.loads(run("status", "--json")[1])["needs_me"] if each["what"] == "violated"]
    assert waits in found["text"]
    assert "serinus rollout rollback ads" in found["do"]


def test_a_pool_where_nobody_answers_needs_someone(run: Run, server: Any) -> None:
    server.on("/v1/status", (200, {**STATUS, "models": [MODEL], "rollouts": [], "replicas": []}))
    found = json.loads(run("status", "--json")[1])["needs_me"]
    assert [each["what"] for each in found] == ["nobody answers", "no monitor"]


def test_that_nobody_acts_comes_first(run: Run, troubled: Any, server: Any) -> None:
    for lease, first in ((None, "nobody acts"), (90.0, "nobody acts"), (105.0, "serves nothing")):
        told = {**STATUS, "rollouts": [], "replicas": [], "acting": False, "now": 100.0}
        models = [{**MODEL, "aliases": {}}]
        server.on("/v1/status", (200, {**told, "models": models, "monitors": [], "lease_until": lease}))
        assert json.loads(run("status", "--json")[1])["needs_me"][0]["what"] == first


def test_a_thousand_models_fit_a_screen_and_cost_one_question(run: Run, server: Any) -> None:
    names = [f"m{n:04}" for n in range(1_000)]
    many = {
        **STATUS,
        "models": [{**MODEL, "model": name, "aliases": {}} for name in names],
        "rollouts": [rollout(Phase.PAUSED, model=name, id=name) for name in names[:200]],
        "alerts": [{"alert": {**ALERT, "model": name}, "raised_at": 1.0} for name in names[:200]],
        "alerts_in_all": 1_000,
    }
    server.on("/v1/status", (200, many))
    code, out, _ = run("status")
    assert (code, len(server.seen)) == (0, 1)
    assert len(out.splitlines()) < 100
    assert "and 980 more" in out
    assert "and 180 more" in out
    found = json.loads(run("status", "--json")[1])["needs_me"]
    texts = [each["text"] for each in found]
    assert "800 older alerts last as well" in texts
    assert "990 more models have no stable version" in texts


def test_a_controller_without_models_says_what_to_do(run: Run, server: Any) -> None:
    nothing = {"models": [], "rollouts": [], "replicas": [], "monitors": [], "acting": True, "you": "admin"}
    server.on("/v1/status", (200, nothing))
    out = run("status")[1]
    assert "nothing needs you" in out
    assert "serinus apply" in out


def test_tab_offers_names_and_nothing_when_nobody_answers(home: Any, server: Any) -> None:
    server.on("/v1/models", (200, {"items": [MODEL, {**MODEL, "model": "bids"}], "next": None}))
    server.on("/v1/models/ads/versions", (200, {"items": [{"version": 12, "digest": "d"}], "next": None}))
    command = typer.main.get_command(typer.Typer(callback=lambda: None))
    context = typer.Context(command)
    context.params = {"home": home.path, "model": "ads"}
    assert complete.models(context, "b") == ["bids"]
    assert complete.versions(context, "1") == ["12"]
    context.params = {"home": home.path / "none"}
    assert complete.models(context, "") == []


def test_ctrl_c_while_watching_says_how_to_come_back(run: Run, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on("/v1/rollouts/r1", (200, rollout(Phase.RAMP)))

    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "_views", interrupted)
    code, _, err = run("rollout", "watch", "r1")
    assert code == 130
    assert "serinus rollout watch r1" in err


def test_watching_asks_again_where_there_are_no_events(run: Run, server: Any) -> None:
    server.on("/v1/rollouts/r1/events", (200, b"no events"))
    server.on("/v1/rollouts/r1", *[(200, rollout(Phase.RAMP))] * 3, (200, rollout(Phase.ROLLED_BACK)))
    assert run("rollout", "watch", "r1")[0] == 3


def test_events_go_on_after_the_last_one_when_the_stream_breaks(home: Any, server: Any) -> None:
    server.on("/v1/events", (200, b'id: 1\ndata: {"a": 1}\n\n'), (200, b"id: 2\nevent: moved\ndata: {}\n\n"))
    server.content_type = "text/event-stream"
    with Client(home=home.path) as client:
        events = client.events()
        assert [(each.id, each.kind, each.data) for each in (next(events), next(events))] == [
            ("1", "message", {"a": 1}),
            ("2", "moved", {}),
        ]
        events.close()  # type: ignore[attr-defined]
    assert [each.headers.get("last-event-id") for each in server.seen] == [None, "1"]


def test_a_wrong_package_yaml_says_line_and_field(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "package.yaml"
    file.write_text("onnx: m.onnx\ntasks:\n  click:\n    activaton: sigmoid\n")
    code, _, err = run("package", str(file), "-o", str(tmp_path / "out"))
    assert code == 1
    assert "package.yaml, line 4, column 5: tasks.click.activaton: unknown field" in err
    assert "did you mean 'activation'?" in err
    assert "expected TASK=KIND" in run("package", "--task", "click=binry", "-o", str(tmp_path / "out"))[2]
