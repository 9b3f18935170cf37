"""`serinus grafana sync` brings a Grafana to what we want, once, and says clearly why it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.cli import main
from serinus.errors import BadInput, NotAllowed, SerinusError, Stale, Unavailable
from serinus.grafana import sync as syncing
from serinus.grafana.boards import boards
from serinus.grafana.sync import Wanted, connect, sync
from serinus.rollouts import Move, Phase, Plan, RolloutView
from tests.grafana.standin import TOKEN, Grafana, grafana


def rollout(*phases: Phase) -> RolloutView:
    moves, before = [], Phase.PENDING
    for number, phase in enumerate(phases):
        moves.append(Move(at=1_000.0 + number, event_ms=0, start=before, to=phase, why="because", actor="test"))
        before = phase
    told: dict[str, Any] = {
        "id": "r1", "model": "ads", "candidate": 2, "baseline": 1, "plan": Plan(), "phase": before, "step": 0,
        "canary_bp": 0, "verdict": None, "waiting_for": "", "history": tuple(moves), "started_at": 1.0,
        "started_event_ms": 0,
    }  # fmt: skip
    return RolloutView.model_validate(told)


ALL = Wanted("http://prometheus:9090", "http://pager/hook", (rollout(Phase.LOADING, Phase.SHADOW),))


@pytest.fixture
def there() -> Iterator[Grafana]:
    with grafana() as made:
        yield made


def test_everything_is_made_once(there: Grafana) -> None:
    api = connect(there.url, TOKEN)
    assert {each.what for each in sync(api, ALL, dry_run=True)} == {"create"}
    assert there.writes == []
    assert {each.what for each in sync(api, ALL)} == {"create"}
    assert there.boards.keys() == boards().keys()
    assert {board["meta"]["folderUid"] for board in there.boards.values()} == {"serinus"}
    assert [mark["text"] for mark in there.marks] == [
        "version 2: pending -> loading: because",
        "version 2: loading -> shadow: because",
    ]
    written = len(there.writes)
    assert {each.what for each in sync(api, ALL)} == {"same"}
    assert len(there.writes) == written


def test_only_what_differs_is_written_and_told(there: Grafana) -> None:
    api = connect(there.url, TOKEN)
    sync(api, ALL)
    del there.writes[:]
    there.boards["serinus-fleet"]["dashboard"]["panels"][0]["title"] = "Mine"
    there.sources["serinus-prometheus"]["url"] = "http://elsewhere"
    more = Wanted(ALL.prometheus, ALL.webhook, (rollout(Phase.LOADING, Phase.SHADOW, Phase.ROLLED_BACK),))
    told = {each.name: each for each in sync(api, more, dry_run=True) if each.what != "same"}
    assert told["Serinus / Fleet"].changes == ("panels[0].title: 'Mine' -> 'Models'",)
    assert told["Serinus Prometheus"].changes == ("url: 'http://elsewhere' -> 'http://prometheus:9090'",)
    assert told["ads"].changes == ("1 new",)
    assert there.writes == []
    sync(api, more)
    assert sorted(there.writes) == [
        ("POST", "/api/annotations"),
        ("POST", "/api/dashboards/db"),
        ("PUT", "/api/datasources/uid/serinus-prometheus"),
    ]
    assert {each.what for each in sync(api, more)} == {"same"}


@pytest.mark.parametrize(
    ("fails", "error"),
    [
        ((401, {"message": "no"}), NotAllowed),
        ((403, {"message": "no"}), NotAllowed),
        ((412, {"message": "version-mismatch"}), Stale),
        ((400, {"message": "bad"}), BadInput),
        ((500, {"message": "it broke"}), Unavailable),
    ],
)
def test_a_refusal_is_an_error_of_ours(there: Grafana, fails: Any, error: type[SerinusError]) -> None:
    there.fails = fails
    with pytest.raises(error):
        sync(connect(there.url, TOKEN), ALL)


def test_who_changes_a_dashboard_meanwhile_is_not_overwritten(there: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    api = connect(there.url, TOKEN)
    sync(api, Wanted())
    there.boards["serinus-fleet"]["dashboard"]["panels"][0]["title"] = "Mine"
    write = api.dashboard.update_dashboard

    def later(body: Any) -> Any:
        there.boards["serinus-fleet"]["dashboard"]["version"] += 1
        return write(body)

    monkeypatch.setattr(api.dashboard, "update_dashboard", later)
    with pytest.raises(Stale):
        sync(api, Wanted())


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://x", "http://", "http://me:secret@host", "http://host?x=1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadInput):
        connect(url, TOKEN)


def test_nobody_there_is_told(there: Grafana) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        sync(connect("http://127.0.0.1:9", TOKEN), Wanted())


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_the_command_says_what_it_did(
    there: Grafana, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_HOME", str(tmp_path))
    monkeypatch.delenv("SERINUS_API", raising=False)
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    words = ("grafana", "sync", "--url", there.url, "--token-file", str(token))
    code, out, err = run(capsys, *words, "--dry-run")
    assert (code, err) == (0, "")
    assert "7 of 7 would change" in out
    assert [each["what"] for each in json.loads(run(capsys, *words, "--json")[1])] == ["create"] * 7
    assert "0 of 7 changed" in run(capsys, *words)[1]
    assert run(capsys, "grafana", "sync", "--url", there.url)[0] == 1
    token.write_text("wrong")
    code, out, err = run(capsys, *words)
    assert code == 1
    assert "service account" in err
    assert "wrong" not in out + err
    assert syncing.TAG == "serinus-transition"
