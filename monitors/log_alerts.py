"""Alerts about the logs: damaged files, looks that fail, silent sources, words that a candidate does not know. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from monitors.watermark import Silence
from serinus.evidence import HealthAlert, InputEvidence, WorkItem

MOST = 20


def log_alerts(model: str, corrupt: Iterable[str]) -> tuple[HealthAlert, ...]:
    """One for each damaged file (paths under the log's folder, as a `Tick` names them), and one for those beyond MOST.

    They stand until the file is away: what it held may be missing from every look since."""
    names = sorted(set(corrupt))
    alerts = [_alert(model, name, f"{name} is damaged: its rows from there on count nowhere") for name in names[:MOST]]
    if len(names) > MOST:
        alerts.append(_alert(model, "more", f"{len(names) - MOST} more files of the logs are damaged"))
    return tuple(alerts)


def stuck_alert(model: str, what: str, error: BaseException) -> HealthAlert:
    """`what` of a model cannot be looked at; it is tried again and again."""
    words = str(error).split("\n")[0]
    return _alert(model, f"looks: {what}", f"{what} cannot be looked at: {type(error).__name__}: {words}"[:1000])


def label_alerts(model: str, silences: Iterable[Silence]) -> tuple[HealthAlert, ...]:
    """One for each label source that has been silent for longer than its heartbeat."""
    return tuple(
        HealthAlert(
            key=f"labels:{model}:{each.source}"[:300],
            model=model,
            kind="labels",
            text=each.text[:1000],
            value=each.behind_ms / 1000,
            since_ms=each.upto_ms,
        )
        for each in silences
    )


def candidate_alerts(item: WorkItem, checks: Iterable[InputEvidence]) -> tuple[HealthAlert, ...]:
    """One for each input whose values the candidate's preprocessing does not know, where that holds its rollout.

    What is wrong with the stream itself, or for stable, is found where stable is looked after, rollout or not."""
    return tuple(
        HealthAlert(
            key=f"input {each.input} / {each.slice} / {each.check} / version {each.version}"[:300],
            model=item.model,
            kind="input",
            text=f"version {each.version}, input {each.input}, {each.slice}: {each.check} {each.value:.4g}, "
            f"limit {each.limit:.4g}; {each.why}"[:1000],
            slice=each.slice,
            input=each.input,
            value=each.value,
            limit=each.limit,
            since_ms=each.since_ms,
        )
        for each in checks
        if each.holds and each.version == item.candidate
    )


def _alert(model: str, what: str, text: str) -> HealthAlert:
    return HealthAlert(key=f"log:{model}:{what}"[:300], model=model, kind="log", text=text[:1000])
