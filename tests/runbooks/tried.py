"""Which runbooks are tried, and with which fault; the others say that they are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BY_HAND", "FAULTS", "PAGES", "blocks", "line_of"]

PAGES = {path.stem: path for path in sorted((Path(__file__).parents[2] / "deploy" / "runbooks").glob("*.md"))}
FAULTS = {
    "target-down": "the monitor is stopped by SIGSTOP",
    "promotion-held": "the rollout is paused",
    "no-active-controller": "the controller is stopped by SIGSTOP",
    "notices-stuck": "the webhook refuses connections",
    "database-down": "another process holds SQLite's exclusive lock",
    "rows-lost": "the disk of the logs is full",
    "labels-stopped": "requests go on, labels do not",
    "guard-violated": "a version that ranks badly, in a rehearsal",
    "head-fallbacks": "the encoder of a stable version raises",
    "latency-budget-burn": "the encoder of a stable version needs 0.2 s",
    "error-budget-burn": "more users than a slow stable version can answer",
    "shadow-dropping": "the shadow is stopped by SIGSTOP",
    "stable-decay": "a file of the log is damaged",
    "evidence-error": "a file of the log cannot be read",
    "log-lag": "the monitor gets a twentieth of its time while days are replayed",
    "replicas-behind": "the package of a version that was promoted is away",
}
"""Runbook -> the fault that `python -m tests.runbooks` injects."""
BY_HAND = {
    "rolled-back": "a version that ranks one task badly",
    "evidence-missing": "the monitor is killed again and again",
}
"""Runbook -> the fault with which its steps were followed by a person."""


def line_of(page: str) -> str:
    """The last line of a runbook."""
    if page in FAULTS:
        return f"Tried: `python -m tests.runbooks` ({FAULTS[page]}), the commands under *How to see it*."
    if page in BY_HAND:
        return f"Tried: by hand ({BY_HAND[page]})."
    return "Tried: not yet with its fault; a test checks that its commands exist."


def blocks(path: Path, model: str) -> Iterator[tuple[str, ...]]:
    """The words of each `serinus` command in the console blocks of a runbook."""
    for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL):
        for command in re.findall(r"^\$ serinus (.+)$", block, re.MULTILINE):
            yield tuple(command.replace("MODEL", model).split())
