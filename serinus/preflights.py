"""What a preflight is asked and what it brings back: past requests, scored again by a candidate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serinus.evidence import Evidence, WorkItem
from serinus.rollouts import Preflight
from serinus.tasks import Word

__all__ = ["Difference", "PreflightParams", "PreflightResult"]

NOTABLE_PSI = 0.1
"""A population stability index from which on people look: the usual rule of thumb."""
Count = Annotated[int, Field(ge=0)]


class PreflightParams(Word):
    """`item`: what to compare, with the preflight's own part of alpha. `until_ms`: the watermark when it was asked for;
    None: no label source had said anything."""

    item: WorkItem
    preflight: Preflight
    until_ms: int | None = None


class Difference(Word):
    """How far the requests that were looked at are from the last day's: population stability index of one raw input,
    or of stable's scores of one task; and how many rows of each were compared."""

    of: Literal["input", "score"]
    name: str
    psi: float
    then: int
    today: int


class PreflightResult(Word):
    """`evidence`: the last look, or the first that was violated; None where nothing could be scored (`why`).

    `requests`: answered in the window [`start_ms`, `end_ms`), event time; `with_inputs`: of them, with logged inputs;
    `rows`: scored by the candidate; `unusable`: what was left out, by reason;
    `absent`: raw inputs that the candidate reads and no logged request has."""

    evidence: Evidence | None = None
    start_ms: int = 0
    end_ms: int = 0
    requests: Count = 0
    with_inputs: Count = 0
    rows: Count = 0
    unusable: dict[str, Count] = {}
    absent: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    why: str = ""

    @property
    def said(self) -> str:
        """Of how many requests it speaks, and how far they are from today's, in words."""
        share = self.with_inputs / self.requests if self.requests else 0.0
        parts = [
            f"of {self.requests:,} requests {self.with_inputs:,} had their inputs logged ({share:.1%})",
            f"{self.rows:,} rows were scored",
        ]
        parts += [f"left out, {reason}: {rows:,}" for reason, rows in sorted(self.unusable.items()) if rows]
        if self.absent:
            parts.append(f"no request had {', '.join(self.absent)}")
        return "; ".join([*parts, self._apart()])

    def _apart(self) -> str:
        if not self.differences:
            return "how far they are from today's is not known"
        far = [each for each in self.differences if each.psi >= NOTABLE_PSI]
        far = sorted(far, key=lambda each: (-each.psi, each.of, each.name))
        if not far:
            most = max(each.psi for each in self.differences)
            return f"they are as today's (PSI at most {most:.2f})"
        named = ", ".join(f"{each.of} {each.name} {each.psi:.2f}" for each in far[:5])
        more = f" and {len(far) - 5} more" if len(far) > 5 else ""
        return f"they differ from today's (PSI): {named}{more}"
