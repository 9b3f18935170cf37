"""What goes wrong with answers right now, by what serving counted within some seconds. Pure.

The bounds are those of the alerts (deploy/prometheus/rules), which look at minutes and hours."""

from __future__ import annotations

from collections.abc import Iterator

from serinus.doctor.counts import Growth, by_label, growth, of
from serinus.doctor.finding import Finding, runbook

__all__ = ["judge_traffic"]

ERRORS, SLOW, FALLBACKS, DROPPED = 0.0144, 0.144, 0.05, 0.1
"""Shares that are worth a word; the first two are the fastest burn rate times what the promises allow."""
LEAST = 5
"""Fewer prove nothing."""


def judge_traffic(before: str, after: str, seconds: float) -> list[Finding]:
    """`before`, `after`: the metrics of serving, read `seconds` apart."""
    grown = growth(before, after)
    models = sorted({each.labels["model"] for each in grown if "model" in each.labels})
    return [
        finding
        for model in models
        for judged in (_errors, _slow, _fallbacks, _shadow)
        for finding in judged(grown, model, f"of the last {seconds:.0f} s")
    ]


def _errors(grown: list[Growth], model: str, when: str) -> Iterator[Finding]:
    asked = [each for each in of(grown, "serinus_requests_total", model) if each.labels["result"] != "invalid"]
    failed = by_label((each for each in asked if each.labels["result"] != "ok"), "result")
    count, total = failed.total(), by_label(asked).total()
    if count >= LEAST and count > ERRORS * total:
        text = f"{count} of {total} requests {when} failed: {_told(failed)}"
        do = f"shed: more front doors; since a promotion: serinus rollback {model}; else the log of serving"
        page = runbook("error-budget-burn")
        yield Finding(level="wrong", what="requests fail", text=text, do=do, model=model, runbook=page)


def _slow(grown: list[Growth], model: str, when: str) -> Iterator[Finding]:
    name = "serinus_request_duration_seconds"
    total = by_label(of(grown, f"{name}_count", model), "arm")
    fast = by_label((each for each in of(grown, f"{name}_bucket", model) if each.labels["le"] == "0.1"), "arm")
    slow = total - fast
    if slow.total() >= LEAST and slow.total() > SLOW * total.total():
        text = f"{slow.total()} of {total.total()} answers {when} took more than 100 ms: {_told(slow)}"
        do = "too few front doors, another load on the machine, or a slow head: serinus explain tells of a canary"
        page = runbook("latency-budget-burn")
        yield Finding(level="look", what="answers are slow", text=text, do=do, model=model, runbook=page)


def _fallbacks(grown: list[Growth], model: str, when: str) -> Iterator[Finding]:
    rows = by_label(each for each in of(grown, "serinus_rows_total", model) if each.labels["arm"] != "shadow").total()
    stood_in = [
        each
        for each in of(grown, "serinus_head_fallbacks_total", model)
        if each.labels["arm"] != "shadow" and each.labels["reason"] != "candidate"
    ]
    failures = list(of(grown, "serinus_head_failures_total", model))
    for task in sorted({each.labels["task"] for each in stood_in}):
        count = by_label(each for each in stood_in if each.labels["task"] == task).total()
        if count >= LEAST and count > FALLBACKS * rows:
            causes = by_label(
                (each for each in failures if each.labels["task"] == task and each.labels["arm"] != "shadow"),
                "reason",
                "arm",
            )
            text = f"{count} of {rows} answers of {task} {when} are fallbacks; requests: {_told(causes)}"
            do = f"since a promotion: serinus rollback {model}; else the page tells by the reason"
            page = runbook("head-fallbacks")
            yield Finding(level="wrong", what="head falls back", text=text, do=do, model=model, runbook=page)


def _shadow(grown: list[Growth], model: str, when: str) -> Iterator[Finding]:
    copies = list(of(grown, "serinus_shadow_rows_total", model))
    left_out = by_label((each for each in copies if each.labels["result"] != "scored"), "result")
    total = by_label(copies).total()
    if left_out.total() >= LEAST and left_out.total() > DROPPED * total:
        text = f"{left_out.total()} of {total} rows of the shadow {when} were not scored: {_told(left_out)}"
        do = "evidence takes longer, answers are not touched; a plan with a smaller shadow_bp, or more shadow replicas"
        page = runbook("shadow-dropping")
        yield Finding(level="look", what="shadow drops", text=text, do=do, model=model, runbook=page)


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items(), key=lambda each: -each[1]))
