"""Each alert fires, does not fire just below, and resolves; rules, runbooks and metrics fit each other."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict

import pytest

from serinus.metrics import ALL, CONTROLLER, MONITOR, SERVING
from tests.alerts.rulebook import CASES, PROMETHEUS, REPOSITORY, RULES, cases, rules, tool

ALERTS = sorted({rule.alert for rule in rules() if rule.alert})
SCRAPED = {
    name
    for each in ALL
    for name in (
        [each.name + end for end in ("_bucket", "_count", "_sum")] if each.kind == "histogram" else [each.name]
    )
}


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    run(tool("promtool", "prometheus"), "check", "rules", *map(str, RULES))


def test_alertmanager_takes_its_settings() -> None:
    run(tool("amtool", "prometheus-alertmanager"), "check-config", str(PROMETHEUS / "alertmanager.yml"))


@pytest.mark.parametrize("file", sorted(cases()))
def test_alerts_fire_and_resolve(file: str) -> None:
    run(tool("promtool", "prometheus"), "test", "rules", str(CASES / file))


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    seen: dict[tuple[str, str, str], set[bool]] = defaultdict(set)
    for case in cases().values():
        for test in case["tests"]:
            for look in test["alert_rule_test"]:
                firing = {
                    (one["exp_labels"]["severity"], one["exp_labels"].get("window", "")) for one in look["exp_alerts"]
                }
                for rule in rules():
                    if rule.alert == look["alertname"]:
                        kind = rule.labels["severity"], rule.labels.get("window", "")
                        seen[rule.alert, *kind].add(kind in firing)
    wanted = {(rule.alert, rule.labels["severity"], rule.labels.get("window", "")) for rule in rules() if rule.alert}
    assert {key for key in wanted if seen[key] != {True, False}} == set()


def test_every_metric_of_a_rule_is_one_that_is_scraped_or_recorded() -> None:
    recorded = {rule.record for rule in rules() if rule.record}
    for rule in rules():
        for text in (rule.expr, *rule.annotations.values()):
            for name in re.findall(r"\bserinus(?:_[a-z0-9_]+|:[a-z0-9_:]+)", re.sub(r'"serinus-[^"]*"', "", text)):
                known = recorded if ":" in name else SCRAPED
                assert name in known, f"{rule.file}, {rule.alert or rule.record}: {name}"


def test_every_recording_is_used() -> None:
    for_dashboards = {"serinus:guard_interval_high:max"}
    said = " ".join(text for rule in rules() for text in (rule.expr, *rule.annotations.values()))
    unused = {rule.record for rule in rules() if rule.record and not re.search(rf"{rule.record}\b", said)}
    assert unused <= for_dashboards


def test_a_promised_time_is_a_bucket() -> None:
    (durations,) = [each for each in SERVING if each.name == "serinus_request_duration_seconds"]
    times = {float(le) for rule in rules() for le in re.findall(r'le="([^"]+)"', rule.expr)}
    assert times
    assert times <= set(durations.buckets)


def test_all_rooms_have_alerts() -> None:
    said = " ".join(rule.expr for rule in rules())
    for room in (SERVING, MONITOR, CONTROLLER):
        assert any(each.name in said for each in room)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_grave_it_is_and_what_to_do(alert: str) -> None:
    page = re.sub(r"(?<!^)([A-Z])", r"-\1", alert.removeprefix("Serinus")).lower()
    for rule in rules():
        if rule.alert == alert:
            assert rule.labels["severity"] in ("page", "ticket")
            assert "{{" in rule.annotations["summary"] or not rule.expr.count("by (model)")
            assert rule.annotations["description"]
            assert rule.annotations["runbook_url"] == f"deploy/runbooks/{page}.md"
    text = (REPOSITORY / "deploy" / "runbooks" / f"{page}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    for part in ("## What it means", "## How to see it", "## What to do", "## How to undo it"):
        assert part in text, part


def test_the_table_of_alerts_is_whole() -> None:
    page = (REPOSITORY / "docs" / "on-call.md").read_text()
    for rule in rules():
        if rule.alert:
            row = next(line for line in page.splitlines() if line.startswith(f"| `{rule.alert}`"))
            assert rule.labels["severity"] in row
            assert rule.annotations["runbook_url"] in row
