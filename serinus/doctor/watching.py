"""What the metrics of a stack say: how far the monitor is behind, and what serving answered while one waits."""

from __future__ import annotations

import time
from collections.abc import Mapping

from serinus.doctor.asking import Asked, ask_all
from serinus.doctor.finding import Finding
from serinus.doctor.lag import judge_lag
from serinus.doctor.traffic import judge_traffic

__all__ = ["judge_metrics"]

SERVING = "metrics of serving"
WATCH_S = 3.0
"""Serving's processes tell what they counted once a second."""


def judge_metrics(urls: Mapping[str, str], token: str) -> list[Finding]:
    """`urls`: `metrics of PROCESS` -> URL. Takes three seconds where serving answers."""
    asked = ask_all(urls, token)
    found = judge_lag(asked, urls)
    first = asked.get(SERVING)
    if first is None or not first.well:
        return found
    began = time.monotonic()
    time.sleep(WATCH_S)
    again = ask_all({SERVING: urls[SERVING]}, token)[SERVING]
    if again.well:
        found += judge_traffic(_text(first), _text(again), time.monotonic() - began)
    return found


def _text(asked: Asked) -> str:
    return asked.body.decode(errors="replace")
