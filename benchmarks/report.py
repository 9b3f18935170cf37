"""What a benchmark says: tables of text, a line for each target, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime

Cell = str | int | float | None
MAY_BE_BUSY = 0.2
"""Cores that others may use while requests a second are still a fair comparison."""


@dataclass
class Table:
    """Rows under columns; the first column is words."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        shown = [self.columns, *([_shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[at]) for row in shown) for at in range(len(self.columns))]
        lines = [
            "  ".join(cell.ljust(width) if at == 0 else cell.rjust(width) for at, (cell, width) in enumerate(pairs))
            for pairs in (list(zip(row, widths, strict=True)) for row in shown)
        ]
        return "\n".join([f"\n{self.title}", lines[0], "-" * len(lines[0]), *lines[1:], *self.notes])


@dataclass
class Target:
    """What was promised and what came. `at_least`: whether more is better."""

    name: str
    wanted: float
    got: float | None
    unit: str = "x"
    at_least: bool = True

    @property
    def met(self) -> bool:
        if self.got is None:
            return False
        return self.got >= self.wanted if self.at_least else self.got <= self.wanted

    def text(self) -> str:
        sign = ">=" if self.at_least else "<="
        if self.got is None:
            return f"MISSED   {self.name}: not measured (wanted {sign} {self.wanted:g} {self.unit})"
        by = "" if self.met or not self.wanted else f", by {abs(self.got / self.wanted - 1):.0%}"
        return f"{'met   ' if self.met else 'MISSED'}   {self.name}: {self.got:.3g} {self.unit} " + (
            f"(wanted {sign} {self.wanted:g}{by})"
        )


class Report:
    """Collects what a script found; prints each table when it is whole.

    `beside`: cores that others used meanwhile (median), where that was measured."""

    def __init__(self, name: str) -> None:
        self.name, self.tables, self.targets = name, list[Table](), list[Target]()
        self.machine = machine()
        self.beside: float | None = None
        print(f"{name}: {self.machine['cpu']}, {self.machine['cores']} cores, load {self.machine['load']}", flush=True)

    def table(self, table: Table) -> None:
        self.tables.append(table)
        print(table.text(), flush=True)

    def target(self, name: str, got: float | None, wanted: float, unit: str = "x", at_least: bool = True) -> None:
        self.targets.append(Target(name, wanted, got, unit, at_least))

    def finish(self, file: str | None) -> None:
        """Print the targets; write everything to `file` as JSON when one is given."""
        print("\ntargets" if self.targets else "")
        if self.beside is not None and self.beside > MAY_BE_BUSY:
            used = f"{self.beside:.1f} of {self.machine['cores']} cores"
            print(f"NO EVIDENCE: others used {used} meanwhile. On a busy machine a server of many processes")
            print("gets more of the processors than a server of one: measure again on a quiet one.")
        for target in self.targets:
            print(target.text())
        sys.stdout.flush()
        if file is not None:
            found: dict[str, Any] = {"name": self.name, "machine": self.machine, "beside_cores": self.beside}
            found["tables"] = [asdict(table) for table in self.tables]
            found["targets"] = [{**asdict(target), "met": target.met} for target in self.targets]
            Path(file).write_text(json.dumps(found, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = [round(value, 1) for value in os.getloadavg()]
    versions = {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__}
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "load": load, **versions}


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def us(values: Sequence[float]) -> str:
    """Microseconds as milliseconds, in words."""
    return " / ".join(f"{value / 1000:.2f}" for value in values)
