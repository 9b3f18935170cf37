"""The suites by name, and how a rollout of any is played. Not in `__main__`, which new processes do not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.simulations import flights, luck, power, system
from benchmarks.simulations.trial import Outcome, Trial

__all__ = ["SUITES", "play"]

SUITES: dict[str, Any] = {"luck": luck, "power": power, "system": system, "flights": flights}


def play(trial: Trial, folder: Path) -> Outcome:
    """`folder`: where the scores of the flights lie."""
    run: Callable[..., Outcome] = SUITES[trial.suite].run
    return run(trial, folder) if trial.suite == "flights" else run(trial)
