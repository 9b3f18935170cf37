"""From cells to one decision: their weighted sum, what stays said, and what losses of the log take back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from monitors.shares import Share
from serinus.evidence import CellEvidence, VerdictName, worst

MOST_LOST = 0.01
"""Share of the answers that may be missing in the log before nothing counts as satisfied: they are not lost by chance,
but together, and with them the very minutes in which something went wrong."""


@dataclass(slots=True)
class Latch:
    """`violated`: names of cells that alone passed the limit; `culprits`: who carried the sum when it passed."""

    violated: set[str] = field(default_factory=set)
    culprits: list[str] = field(default_factory=list)

    def update(
        self, shares: tuple[Share, ...], cells: tuple[CellEvidence, ...], limit: float
    ) -> tuple[float, tuple[CellEvidence, ...]]:
        """The sum over all cells, and the cells with `violated` where it is or was so. Twice is once."""
        carried: dict[str, float] = {}
        for share, cell in zip(shares, cells, strict=True):
            carried[cell.name] = carried.get(cell.name, 0.0) + share.weight * cell.e_violated
        total = math.fsum(carried.values())
        self.violated |= {name for name, value in carried.items() if value >= limit}
        if total >= limit or self.culprits:
            over = [name for name in carried if name in self.violated]
            suspect = [] if over or self.culprits else [max(carried, key=lambda name: carried[name])]
            self.culprits += [name for name in (*over, *suspect) if name not in self.culprits]
        return total, tuple(self._marked(cell, carried) for cell in cells)

    def _marked(self, cell: CellEvidence, carried: dict[str, float]) -> CellEvidence:
        speaks = cell.weight * cell.e_violated * 2 >= carried[cell.name]
        if cell.name in self.violated and cell.weight > 0 and speaks:
            return cell.model_copy(update={"verdict": "violated"})
        return cell


def verdict_of(latch: Latch, cells: tuple[CellEvidence, ...]) -> VerdictName:
    """Violated once is violated; satisfied when every required cell is so at once; else nobody knows yet."""
    return "violated" if latch.culprits else worst(cell.verdict for cell in cells if cell.role == "required")


def unproven(cells: tuple[CellEvidence, ...], *losses: tuple[int, int]) -> tuple[CellEvidence, ...]:
    """The cells, with `error` instead of `satisfied` where too many answers are lost. Each loss: (answers, lost)."""
    for answers, lost in losses:
        if lost > MOST_LOST * (answers + lost):
            why = f"{lost:,} of {answers + lost:,} answers could not be recorded"
            return tuple(
                cell.model_copy(update={"verdict": "error", "why": why}) if cell.verdict == "satisfied" else cell
                for cell in cells
            )
    return cells
