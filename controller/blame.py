"""Why evidence rolls back, in words and numbers."""

from __future__ import annotations

from serinus.evidence import CellEvidence, Evidence

__all__ = ["blamed"]


def blamed(evidence: Evidence) -> str:
    """Why violated evidence rolls back: its culprits with their numbers."""
    by_share = sorted(evidence.cells, key=lambda cell: cell.weight * cell.e_violated)
    cells = {cell.name: cell for cell in by_share}  # of the streams, the one that said more
    named = [_numbers(cells[name]) if name in cells else name for name in evidence.culprits]
    return f"violated: {'; '.join(named) or 'no cell is named'}; E = {evidence.e:.4g}, limit {evidence.limit:g}"


def _numbers(cell: CellEvidence) -> str:
    def shown(value: float | None) -> str:
        return "unknown" if value is None else f"{value:.4g}"

    return (
        f"{cell.name} ({cell.stream}): estimate {shown(cell.estimate)}, interval [{shown(cell.low)}, "
        f"{shown(cell.high)}], margin {cell.margin:g}, {cell.labels} labels, {cell.positives} positives"
    )
