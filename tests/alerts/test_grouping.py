"""Several slices and tasks of one model are violated, then rolled back: whoever is on call gets one page of it.

Real Prometheus and Alertmanager with the rules and routes of the repository; only times are shorter. The series are
made up, and shown by a small exporter."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.observe import Observer
from deploy.observe_settings import Times
from serinus.home import Home, Stack
from serinus.rollouts import Phase
from tests.alerts.test_live import firing, told, until

__all__ = ["told"]

TIMES = Times(scrape="1s", evaluate="1s", group_wait="4s", group_interval="2s")
CELLS = [(task, place) for task in ("click", "buy") for place in ("overall", "country=BR", "country=DE")]
TOLD = ("SerinusGuardViolated", "SerinusRolledBack")
POSTS = list[dict[str, Any]]


class Exporter:
    """`phases`: model -> phase of its rollout. In canary and after a rollback all of its guards are violated."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = {}
        self.began = time.time()

    def text(self) -> str:
        lines = ["serinus_controller_active 1", "serinus_database_up 1"]
        for model, phase in self.phases.items():
            of = f'model="{model}"'
            lines += [f'serinus_rollout_phase{{{of},phase="{each.value}"}} {int(each is phase)}' for each in Phase]
            lines += [
                f'serinus_rollout_info{{{of},rollout="r-{model}",candidate="2",baseline="1"}} 1',
                f"serinus_rollout_phase_since_timestamp_seconds{{{of}}} {self.began}",
                f"serinus_rollout_log_e_value{{{of}}} 5",
                f"serinus_rollout_log_e_threshold{{{of}}} 3",
                f"serinus_rollout_canary_ratio{{{of}}} 0.01",
                f"serinus_evidence_timestamp_seconds{{{of}}} {time.time()}",
            ]
            for task, place in CELLS:
                cell = f'{of},stream="canary",task="{task}",slice="{place}",metric="auc"'
                values = {"estimate": 0.2, "interval_low": 0.1, "interval_high": 0.3, "margin": 0.01, "verdict": 3}
                lines += [f"serinus_guard_{name}{{{cell}}} {value}" for name, value in values.items()]
        return "\n".join(lines) + "\n"


@pytest.fixture
def exporter() -> Iterator[tuple[Exporter, str]]:
    made = Exporter()

    class Show(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Show)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made, f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()


class Hasty(Observer):
    """Looks at an exporter instead of a stack, and waits a second where the rule waits a minute."""

    def _start(self, name: str, program: str, *words: str) -> None:
        path = self.folder / "rules" / "rollouts.yml"
        text = yaml.safe_load(path.read_text())
        for group in text["groups"]:
            # what is not of a rollout waits as it does: of processes and evidence there is nothing here
            group["rules"] = [rule for rule in group["rules"] if rule["alert"] in TOLD]
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = "1s"
        path.write_text(yaml.safe_dump(text))
        super()._start(name, program, *words)


@pytest.fixture
def observer(tmp_path: Path, exporter: tuple[Exporter, str], told: tuple[str, POSTS]) -> Iterator[Observer]:
    token = tmp_path / "token"
    token.write_text("made-up")
    stack = Stack(
        stack="s", pid=1, api="http://127.0.0.1:1", serving="http://127.0.0.1:1", token_file=str(token),
        replay_token_file=str(token), metrics={"controller": exporter[1]},
    )  # fmt: skip
    home = Home(tmp_path / "home")
    home.stack = lambda: stack  # type: ignore[method-assign]
    assert shutil.which("promtool")
    started = Hasty(home, webhook=told[0], times=TIMES)
    yield started
    started.stop()


def models_of(posts: POSTS, name: str) -> list[str]:
    return [str(alert["labels"]["model"]) for alert in firing(posts, name)]


def held(observer: Observer, state: str) -> list[dict[str, Any]]:
    """The alerts that Alertmanager has of guards: "suppressed" or "active"."""
    answer = httpx.get(f"{observer.alerts_url}/api/v2/alerts", trust_env=False).json()
    return [
        each
        for each in answer
        if each["labels"]["alertname"] == "SerinusGuardViolated" and each["status"]["state"] == state
    ]


@pytest.mark.timeout(180)
def test_one_page_for_a_model_however_many_cells(
    exporter: tuple[Exporter, str],
    observer: Observer,
    told: tuple[str, POSTS],
) -> None:
    series, posts = exporter[0], told[1]
    series.phases = {"ads": Phase.CANARY}
    until(lambda: firing(posts, "SerinusGuardViolated"), "the violated guards are told")
    first = [post for post in posts if firing([post], "SerinusGuardViolated")]
    assert len(first) == 1  # six cells of two tasks, one message
    assert {alert["labels"]["model"] for alert in first[0]["alerts"]} == {"ads"}
    assert {(alert["labels"]["task"], alert["labels"]["slice"]) for alert in first[0]["alerts"]} == set(CELLS)

    series.phases = {"ads": Phase.ROLLED_BACK, "search": Phase.ROLLED_BACK, "mail": Phase.CANARY}
    until(lambda: set(models_of(posts, "SerinusRolledBack")) == {"ads", "search"}, "both rollbacks are told")
    until(lambda: "mail" in models_of(posts, "SerinusGuardViolated"), "the other model pages still")
    by_group = [{alert["labels"]["model"] for name in TOLD for alert in firing([post], name)} for post in posts]
    assert all(len(models) <= 1 for models in by_group), by_group
    assert len([post for post in posts if firing([post], "SerinusRolledBack") and "search" in str(post)]) == 1


@pytest.mark.timeout(180)
def test_what_is_rolled_back_is_not_told_as_violated_too(observer: Observer, told: tuple[str, POSTS]) -> None:
    """Both at once, straight to Alertmanager: rules never fire both for long."""

    def alert(name: str, model: str, **labels: str) -> dict[str, Any]:
        return {"labels": {"alertname": name, "severity": "page", "model": model, **labels}, "annotations": {}}

    cells = [{"task": task, "slice": place} for task, place in CELLS]
    both = [
        alert("SerinusRolledBack", "ads"),
        *(alert("SerinusGuardViolated", model, **cell) for model in ("ads", "mail") for cell in cells),
    ]
    httpx.post(f"{observer.alerts_url}/api/v2/alerts", json=both, trust_env=False).raise_for_status()
    posts = told[1]
    until(lambda: firing(posts, "SerinusRolledBack") and models_of(posts, "SerinusGuardViolated"), "both models page")
    assert set(models_of(posts, "SerinusGuardViolated")) == {"mail"}
    assert len(posts) == 2
    assert {each["labels"]["model"] for each in held(observer, "suppressed")} == {"ads"}
    assert len(held(observer, "suppressed")) == len(CELLS)
