"""What the doctor makes of what it has seen: each trouble alone gives its finding, and a well one gives none."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serinus.client.situation import Situation
from serinus.doctor.asking import Asked, ask_all
from serinus.doctor.disk import Room, judge_disks, rooms_on
from serinus.doctor.endpoints import judge_endpoints
from serinus.doctor.lag import judge_lag
from serinus.doctor.processes import judge_processes
from serinus.doctor.situations import behind, judge_situation
from serinus.home import ProcessState, StackState

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000.0
FRONT = {"replica": "front-1", "pool": "default", "role": "front", "applied": {"ads": 3}, "live": True, "seen_at": NOW}
CANDIDATE = {**FRONT, "replica": "candidate-1", "role": "candidate", "applied": {}}
SHADOW = {**FRONT, "replica": "shadow-1", "role": "shadow", "applied": {"ads": 3}}
MONITOR = {"monitor": "m1", "seen_at": NOW, "live": True}
ROLLOUT = {"id": "r1", "model": "ads", "candidate": 2, "baseline": 1, "phase": "canary", "waiting_for": "click"}
WELL: dict[str, Any] = {
    "models": [{"model": "ads", "pool": "default", "aliases": {"stable": 1}, "epoch": 3}],
    "rollouts": [ROLLOUT],
    "replicas": [FRONT, CANDIDATE, SHADOW],
    "monitors": [MONITOR],
    "acting": True,
    "now": NOW,
    "lease_until": NOW + 5,
}


def alert(kind: str) -> dict[str, Any]:
    return {"alert": {"key": kind, "model": "ads", "kind": kind, "text": f"the {kind}"}, "raised_at": NOW}


TROUBLES: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "another controller acts": ({"acting": False}, []),
    "nobody acts": (
        {"acting": False, "lease_until": NOW - 60},
        [("wrong", "no lease", "no-active-controller")],
    ),
    "nobody ever acted": ({"acting": False, "lease_until": None}, [("wrong", "no lease", "no-active-controller")]),
    "no front door": (
        {"replicas": [{**FRONT, "live": False}]},
        [("wrong", "nobody answers", "target-down")],
    ),
    "no candidate": ({"replicas": [FRONT, SHADOW]}, [("wrong", "replica missing", "target-down")]),
    "queued needs none": ({"replicas": [FRONT], "rollouts": [{**ROLLOUT, "phase": "queued"}]}, []),
    "cannot load": (
        {"replicas": [{**FRONT, "failed": {"d" * 64: "out of memory"}}, CANDIDATE, SHADOW]},
        [("wrong", "replica fails", "replicas-behind")],
    ),
    "the monitor is gone": ({"monitors": [{**MONITOR, "live": False}]}, [("wrong", "no monitor", "evidence-missing")]),
    "the monitor is silent": (
        {"monitors": [{**MONITOR, "seen_at": NOW - 40}]},
        [("look", "monitor is silent", "evidence-missing")],
    ),
    "held": (
        {"rollouts": [{**ROLLOUT, "holds": ["weather is stale"]}]},
        [("look", "rollout is held", "promotion-held")],
    ),
    "error": ({"rollouts": [{**ROLLOUT, "look": "error"}]}, [("wrong", "no verdict", "evidence-error")]),
    "approval": (
        {"rollouts": [{**ROLLOUT, "phase": "awaiting_approval"}]},
        [("look", "awaits approval", "promotion-held")],
    ),
    "paused": ({"rollouts": [{**ROLLOUT, "phase": "paused"}]}, [("look", "rollout is paused", "promotion-held")]),
    "a dry run found something": (
        {"rollouts": [{**ROLLOUT, "look": "violated"}]},
        [("look", "guard violated", "guard-violated")],
    ),
    "labels": ({"alerts": [alert("labels")]}, [("wrong", "labels stopped", "labels-stopped")]),
    "decay": ({"alerts": [alert("health")]}, [("look", "alert: health", "stable-decay")]),
    "a notice failed": (
        {"notices": {"count": 1, "failing": 1, "oldest_at": NOW - 10, "said": "refused"}},
        [("look", "notices are stuck", "notices-stuck")],
    ),
    "notices are stuck": (
        {"notices": {"count": 1, "failing": 1, "oldest_at": NOW - 1_000, "said": "refused"}},
        [("wrong", "notices are stuck", "notices-stuck")],
    ),
    "a notice is on its way": ({"notices": {"count": 1, "oldest_at": NOW - 1}}, []),
    "clocks": ({"now": NOW + 60, "monitors": [{**MONITOR, "seen_at": NOW + 60}]}, [("look", "clocks apart", "")]),
    "other clocks": ({"monitors": [{**MONITOR, "seen_at": NOW + 60}]}, [("look", "clocks apart", "")]),
    "nothing is stable": (
        {"models": [{"model": "ads", "pool": "default", "epoch": None}]},
        [("look", "serves nothing", "")],
    ),
    "an older controller": ({"now": 0.0, "lease_until": None, "acting": False}, []),
}


def found(findings: Any) -> list[tuple[str, str, str]]:
    return [(each.level, each.what, Path(each.runbook).stem if each.runbook else "") for each in findings]


def test_a_well_one_has_nothing() -> None:
    assert judge_situation(Situation.model_validate(WELL), NOW) == []
    assert judge_situation(Situation(now=NOW, lease_until=NOW + 1), NOW) == []


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_has_its_finding(name: str) -> None:
    change, expected = TROUBLES[name]
    findings = judge_situation(Situation.model_validate({**WELL, **change}), NOW)
    assert found(findings) == expected
    assert all(each.text and each.do for each in findings)


def test_replicas_behind_are_live_ones_of_the_pool_that_lack_the_newest_table() -> None:
    replicas = [
        FRONT,
        {**FRONT, "replica": "old", "applied": {"ads": 2}},
        {**FRONT, "replica": "new", "applied": {}},
        {**FRONT, "replica": "dead", "applied": {"ads": 1}, "live": False},
        {**FRONT, "replica": "elsewhere", "applied": {}, "pool": "other"},
        CANDIDATE,
    ]
    assert behind(Situation.model_validate({**WELL, "replicas": replicas})) == {("old", "ads"), ("new", "ads")}


def stack(state: str, pid: int | None = 11, **more: Any) -> StackState:
    told = {"name": "monitors", "state": state, "pid": pid, "since": NOW - 60, "log": "/logs/monitors.log", **more}
    return StackState(stack="s", pid=1, phase="ready", processes=(ProcessState.model_validate(told),))


@pytest.mark.parametrize(
    ("state", "letters", "expected"),
    [
        (stack("ready"), {1: "S", 11: "S"}, []),
        (stack("ready"), {1: "S", 11: "?"}, []),
        (stack("ready"), {1: "S", 11: "T"}, [("wrong", "monitors hangs")]),
        (stack("ready"), {1: "S", 11: "Z"}, [("wrong", "monitors hangs")]),
        (stack("ready"), {1: "S", 11: ""}, [("wrong", "monitors is down")]),
        (stack("ready"), {1: "T", 11: "S"}, [("wrong", "supervisor hangs")]),
        (stack("ready", restarts=2, ended="was killed by SIGKILL"), {11: "S"}, [("look", "monitors restarted")]),
        (stack("ready", restarts=2, since=NOW - 86_400), {11: "S"}, []),
        (stack("backing_off", None, restarts=3), {}, [("wrong", "monitors is down")]),
        (stack("starting"), {11: "S"}, [("look", "monitors")]),
    ],
)
def test_processes_are_judged_by_what_there_is(
    state: StackState, letters: dict[int, str], expected: list[tuple[str, str]]
) -> None:
    findings = judge_processes(Path("/home"), state, True, letters, NOW)
    assert [(each.level, each.what) for each in findings] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (None, "no stack"),
        ({}, "supervisor is dead"),
        ({"phase": "stopped"}, "stack is down"),
        ({"phase": "failed", "problem": "port 1 is taken"}, "stack"),
    ],
)
def test_without_a_supervisor_there_is_one_thing_to_say(change: dict[str, Any] | None, expected: str) -> None:
    state = None if change is None else stack("ready").model_copy(update=change)
    (finding,) = judge_processes(Path("/home"), state, False, {}, NOW)
    assert (finding.level, finding.what) == ("wrong", expected)


def test_a_disk_is_judged_by_what_is_free(tmp_path: Path) -> None:
    gib = 1 << 30
    rooms = [Room("a", 20 * gib, 1000 * gib), Room("b", 9 * gib, 1000 * gib), Room("c", 9 * gib, 20 * gib)]
    rooms.append(Room("d", gib // 2, 2 * gib))
    assert [(each.level, each.text.split()[-2]) for each in judge_disks(rooms)] == [("look", "b"), ("wrong", "d")]
    (room,) = rooms_on([tmp_path, tmp_path, tmp_path / "none"])
    assert 0 <= room.free <= room.size


def test_the_lag_is_read_from_the_metrics() -> None:
    text = (
        "# TYPE serinus_monitor_lag_seconds gauge\n"
        'serinus_monitor_lag_seconds{model="ads"} 1.2e+03\n'
        'serinus_monitor_lag_seconds{model="bids"} 10.0\n'
    )
    urls = {"metrics of monitors": "http://x/metrics"}
    asked = {"metrics of monitors": Asked("answered", 200, text.encode())}
    (finding,) = judge_lag(asked, urls)
    assert (finding.what, finding.model, "0.3 h" in finding.text) == ("log lag", "ads", True)
    (mute,) = judge_lag({"metrics of monitors": Asked("refused")}, urls)
    assert mute.level == "look"


@pytest.fixture
def mute() -> Any:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_what_is_refused_what_is_silent_and_what_answers_wrongly_are_told_apart(mute: int) -> None:
    with socket.socket() as free, socket.socket() as odd:
        free.bind(("127.0.0.1", 0))
        odd.bind(("127.0.0.1", 0))
        odd.listen()

        def chatter() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"SSH-2.0-what\r\n")

        threading.Thread(target=chatter, daemon=True).start()
        urls = {
            "gone": f"http://127.0.0.1:{free.getsockname()[1]}/",
            "mute": f"http://127.0.0.1:{mute}/",
            "odd": f"http://127.0.0.1:{odd.getsockname()[1]}/",
            "grpc": f"tcp://127.0.0.1:{mute}",
            "mute ready": f"http://127.0.0.1:{mute}/ready",
        }
        asked = ask_all(urls, within_s=0.5)
    assert {name: each.how for name, each in asked.items()} == {
        "gone": "refused",
        "mute": "silent",
        "odd": "broken",
        "grpc": "answered",
        "mute ready": "silent",
    }
    findings = judge_endpoints(asked, urls)
    assert [each.what for each in findings] == ["gone is down", "mute hangs", "odd answers wrongly"]


def test_a_controller_that_is_not_ready_says_why_in_its_own_words() -> None:
    body = b'{"title": "Unavailable", "detail": "the database is gone", "hint": "start it"}'
    asked = {"controller": Asked("answered", 200), "controller ready": Asked("answered", 503, body)}
    (finding,) = judge_endpoints(asked, dict.fromkeys(asked, "http://x"))
    assert (finding.text, finding.do) == ("the database is gone", "start it")
    assert finding.runbook == "deploy/runbooks/database-down.md"


def test_every_page_that_is_named_is_one_that_an_alert_names() -> None:
    source = "".join(path.read_text() for path in (ROOT / "serinus" / "doctor").glob("*.py"))
    rules = "".join(path.read_text() for path in (ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
    pages: Callable[[str], set[str]] = lambda text: set(re.findall(r"runbooks/([a-z-]+)\.md", text))  # noqa: E731
    named = {name for name in re.findall(r'"([a-z]+(?:-[a-z]+)+)"', source) if name not in {"candidate-1"}}
    assert named
    assert named <= pages(rules)
    assert all((ROOT / "deploy" / "runbooks" / f"{name}.md").is_file() for name in named)
