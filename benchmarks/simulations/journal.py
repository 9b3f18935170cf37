"""What was simulated already, a line a rollout, so that Ctrl-C keeps it. Lines of other code are not believed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulations.trial import Outcome, Trial

__all__ = ["Journal", "fingerprint"]

ROOT = Path(__file__).parents[2]
JUDGES = (
    "accumulation", "accumulators", "assess", "bins", "days", "groupings", "judgement", "metrics", "rates", "restarts",
    "rows", "sequential", "shares", "verdicts",
)  # fmt: skip
"""Modules of `monitors` that a verdict depends on."""


def fingerprint() -> str:
    """Of the code that judges and of the code that draws."""
    ours = sorted(Path(__file__).parent.glob("*.py"))
    files = [*ours, *(ROOT / "monitors" / f"{name}.py" for name in JUDGES), ROOT / "serinus" / "sla.py"]
    texts = [path.read_bytes() for path in files if path.exists()]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


@dataclass
class Journal:
    """`path`: of the lines."""

    path: Path

    def known(self) -> dict[str, Outcome]:
        """Trial's key -> how it went. A last line that was cut off is none."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        found = [Outcome.model_validate_json(line) for line in lines if line.endswith("}")]
        return {each.trial.key: each for each in found}

    def add(self, outcome: Outcome) -> None:
        with self.path.open("a") as file:
            file.write(outcome.model_dump_json() + "\n")

    def missing(self, trials: Iterable[Trial]) -> list[Trial]:
        known = self.known()
        return [trial for trial in trials if trial.key not in known]
