"""`serinus quantize`: a package in another precision, made on this machine."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from serinus.cli.output import AsJson, console, print_json, table
from serinus.errors import BadInput, Unavailable
from serinus.package import digest_of, read_manifest

__all__ = ["add_to"]

MAX_LINES = 100_000


class Narrower(StrEnum):
    INT8 = "int8"
    FP16 = "fp16"


def quantize(
    folder: Annotated[Path, typer.Argument(help="The FP32 package.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new package.")],
    precision: Annotated[Narrower, typer.Option(help="int8: faster; fp16: smaller files.")] = Narrower.INT8,
    rows: Annotated[
        Path | None,
        typer.Option(help="NDJSON, a line {input: value} for each row that callers send.", exists=True, dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an INT8 or FP16 package from an FP32 one; push it like any other. A few hundred --rows learn its ranges."""
    try:
        from serinus.execute import parse_raw  # noqa: PLC0415 (needs what only training installs)
        from serinus.training.quantize import quantize as make  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed", 'pip install "serinus[training]"') from error
    raw = parse_raw(read_manifest(folder), _columns(rows)) if rows is not None else None
    if raw is None:
        console.print("without --rows the ranges are those of sample.json's few rows", style="yellow")
    manifest = make(folder, out, precision.value, rows=raw)
    apart = json.loads((out / "baseline.json").read_text())["apart"]
    if as_json:
        print_json({"folder": str(out), "digest": digest_of(out), "precision": manifest.precision, "apart": apart})
        return
    before, after = (sum(path.stat().st_size for path in each.rglob("*")) for each in (folder, out))
    console.print(f"{out}: {manifest.precision}, {after / 1e6:.1f} MB of {before / 1e6:.1f}")
    table("how far apart", ("task", "mean |dp|", "max |dp|"), [(t, a["mean"], a["max"]) for t, a in apart.items()])


def _columns(path: Path) -> dict[str, list[Any]]:
    """One list for each input; what a line does not name is missing there. Raises BadInput that names the line."""
    found: list[dict[str, Any]] = []
    with path.open() as lines:
        for number, line in enumerate(lines, 1):
            if number > MAX_LINES:
                raise BadInput(f"{path} has more than {MAX_LINES} lines", "a few hundred are enough")
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BadInput(f"line {number} of {path} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise BadInput(f"line {number} of {path} is no object", "expected {input: value} on each line")
            found.append(row)
    if not found:
        raise BadInput(f"{path} has no rows", "one line {input: value} for each row")
    return {name: [row.get(name) for row in found] for name in found[0]}


def add_to(app: typer.Typer) -> None:
    app.command()(quantize)
