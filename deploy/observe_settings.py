"""The settings of Prometheus and Alertmanager for a local stack: its targets, the rules, where runbooks lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from serinus.home import Stack

__all__ = ["Times", "write_settings"]

HERE = Path(__file__).parent
RUNBOOKS = "deploy/runbooks/"


@dataclass(frozen=True, slots=True)
class Times:
    """How often is looked and told; Prometheus' own words for times."""

    scrape: str = "5s"
    evaluate: str = "5s"
    group_wait: str = "10s"
    group_interval: str = "1m"


def write_settings(folder: Path, stack: Stack, alertmanager: str, webhook: str, times: Times) -> None:
    """prometheus.yml, alertmanager.yml and rules/ in `folder`. `alertmanager`: host:port."""
    rules = folder / "rules"
    rules.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in rules.glob("*.yml"):
        old.unlink()
    for path in sorted((HERE / "prometheus" / "rules").glob("*.yml")):
        text = path.read_text().replace(f"runbook_url: {RUNBOOKS}", f"runbook_url: {(HERE / 'runbooks').as_uri()}/")
        (rules / path.name).write_text(text)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_prometheus(stack, alertmanager, times), sort_keys=False))
    told = yaml.safe_load((HERE / "prometheus" / "alertmanager.yml").read_text())
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(_alerts(told, webhook, times), sort_keys=False))


def _prometheus(stack: Stack, alertmanager: str, times: Times) -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": times.scrape,
            "scrape_timeout": times.scrape,
            "evaluation_interval": times.evaluate,
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [_job(room, url, stack.token_file) for room, url in _targets(stack).items()],
    }


def _targets(stack: Stack) -> dict[str, str]:
    """Job -> URL of its metrics."""
    rooms = {"controller": "serinus-controller", "serving": "serinus-serving", "monitors": "serinus-monitor"}
    return {job: stack.metrics[room] for room, job in rooms.items() if room in stack.metrics}


def _job(name: str, url: str, token_file: str) -> dict[str, Any]:
    """Only the controller asks for a token: others must not be shown it."""
    parts = urlsplit(url)
    job: dict[str, Any] = {
        "job_name": name,
        "metrics_path": parts.path or "/metrics",
        "scheme": parts.scheme,
        "static_configs": [{"targets": [parts.netloc]}],
    }
    if name == "serinus-controller":
        job["authorization"] = {"credentials_file": token_file}
    return job


def _alerts(settings: dict[str, Any], webhook: str, times: Times) -> dict[str, Any]:
    settings["route"] |= {"group_wait": times.group_wait, "group_interval": times.group_interval}
    if webhook:
        for receiver in settings["receivers"]:
            receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
    return settings
