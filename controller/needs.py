"""The guards that a step names, and which of them are not satisfied. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from serinus.evidence import CellEvidence, Evidence

__all__ = ["unmet"]


def unmet(needs: tuple[str, ...], evidence: Evidence | None) -> list[str]:
    """What of the named guards is not satisfied, in words. A guard of which there is no cell is not satisfied.

    Where a guard is looked at in two streams, the one that promotion waits for counts."""
    cells = evidence.cells if evidence else ()
    missing: dict[str, str] = {}
    for pattern in needs:
        found = [cell for cell in cells if fnmatchcase(cell.name, pattern)]
        if not found:
            missing[pattern] = f"{pattern} (no evidence)"
        for name in dict.fromkeys(cell.name for cell in found):
            if (cell := _open([cell for cell in found if cell.name == name])) is not None:
                missing[name] = f"{name} ({cell.why or cell.verdict})"
    return list(missing.values())


def _open(streams: list[CellEvidence]) -> CellEvidence | None:
    """The cell of one guard that is not satisfied; None when it is."""
    if required := [cell for cell in streams if cell.role == "required"]:
        return next((cell for cell in required if cell.verdict != "satisfied"), None)
    return None if any(cell.verdict == "satisfied" for cell in streams) else streams[0]
