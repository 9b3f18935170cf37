"""What answers, and what does not, judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from serinus.doctor.asking import Asked
from serinus.doctor.finding import Finding, runbook

__all__ = ["judge_endpoints", "problem_of"]

SLOW_S = 1.0
PAGES = {"controller is not ready": "database-down"}


def judge_endpoints(asked: Mapping[str, Asked], urls: Mapping[str, str]) -> list[Finding]:
    """`asked`: "controller", "controller ready", ... -> how it answered; of `X ready` only where X answers."""
    mute = {name for name, each in asked.items() if each.how != "answered"}
    found = []
    for name, each in asked.items():
        owner = name.removesuffix(" ready")
        if owner != name and owner in mute:
            continue
        if (finding := _judged(name, owner, each, urls[name])) is not None:
            found.append(finding)
    return found


def _judged(name: str, owner: str, each: Asked, url: str) -> Finding | None:
    log = f"the log of {owner} has the rest"
    if each.how == "refused":
        return _wrong(f"{name} is down", f"nobody listens at {url}", f"`serinus status` shows processes; {log}")
    if each.how == "silent":
        text = f"{url} takes connections and does not answer: the process hangs, or is far too busy"
        return _wrong(f"{name} hangs", text, log)
    if each.how == "broken":
        return _wrong(f"{name} answers wrongly", f"{url}: {each.said}", "check the address and what listens there")
    if not each.well:
        detail, hint = problem_of(each)
        what = f"{owner} is not ready" if name != owner else f"{name} answers {each.status}"
        return _wrong(what, detail or f"{url} answers {each.status}", hint or log)
    if each.took_s > SLOW_S:
        text = f"{url} took {each.took_s:.1f} s to answer"
        return Finding(level="look", what=f"{name} is slow", text=text, do="look at the load of its machine")
    return None


def problem_of(each: Asked) -> tuple[str, str]:
    """(What happened, what to do) of an answer with problem details; ("", "") of another one."""
    try:
        told: Any = json.loads(each.body)
    except ValueError:
        return "", ""
    if not isinstance(told, dict):
        return "", ""
    return str(told.get("detail") or ""), str(told.get("hint") or "")


def _wrong(what: str, text: str, do: str) -> Finding:
    return Finding(level="wrong", what=what, text=text, do=do, runbook=runbook(PAGES.get(what, "target-down")))
