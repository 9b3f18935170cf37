"""How far the monitor is behind the log, by its metrics."""

from __future__ import annotations

from collections.abc import Mapping

from serinus.doctor.asking import Asked
from serinus.doctor.counts import series
from serinus.doctor.finding import Finding, runbook

__all__ = ["judge_lag", "lags_of"]

LAG_S = 900.0


def lags_of(text: str) -> dict[str, float]:
    """Model -> seconds of event time, out of a page of metrics."""
    return {labels["model"]: value for name, labels, value in series(text) if name == "serinus_monitor_lag_seconds"}


def judge_lag(asked: Mapping[str, Asked], urls: Mapping[str, str]) -> list[Finding]:
    """`asked`: name of an endpoint of metrics -> what it answered."""
    found = []
    for name, each in asked.items():
        if not each.well:
            text = f"{urls[name]} gives no metrics: {each.said or each.status}"
            do = "alerts cannot be raised without them; the log of the process has the rest"
            found.append(Finding(level="look", what=name, text=text, do=do, runbook=runbook("target-down")))
            continue
        for model, lag_s in sorted(lags_of(each.body.decode(errors="replace")).items()):
            if lag_s > LAG_S:
                text = f"the monitor is {lag_s / 3600:.1f} h of event time behind the log of {model}"
                do = "it catches up by itself when it is fast enough; a regression is found that much later"
                page = runbook("log-lag")
                found.append(Finding(level="wrong", what="log lag", text=text, do=do, model=model, runbook=page))
    return found
