"""`serinus labels import`: labels from a file of NDJSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.progress import track

from serinus.cli.models import Model
from serinus.cli.output import AsJson, HomeOption, complain, console, print_json
from serinus.client import Client, Label, Refusal
from serinus.errors import BadInput

__all__ = ["add_to"]

BATCH = 5_000
MOST_TOLD = 20

group = typer.Typer(help="Hand in labels.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Hand in labels."""


@group.command("import")
def import_(
    model: Model,
    file: Annotated[Path, typer.Argument(help="One label a line.", exists=True, dir_okay=False)],
    *,
    source: Annotated[str | None, typer.Option(help="Label source that is now complete; with --complete-to.")] = None,
    complete_to_ms: Annotated[int | None, typer.Option(help="Event time up to which it is complete (Unix ms).")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Labels of other times than now (replay token).")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Hand in the labels of a file, one JSON object a line: {"id", "task", "value", "index"?, "known_ms"?}.

    Exit code 1 when a row was refused; the other rows are kept, and importing the file again does no harm."""
    if (source is None) != (complete_to_ms is None):
        raise typer.BadParameter("--source and --complete-to-ms belong together")
    accepted, refused = 0, list[Refusal]()
    with Client(home=home, replay=replay) as client, file.open() as lines:
        batch = list[tuple[int, Label]]()
        for row in track(_labels(lines), description="labels", disable=as_json, console=console, transient=True):
            batch.append(row)
            if len(batch) == BATCH:
                accepted += _send(client, model, batch, refused)
                batch = []
        accepted += _send(client, model, batch, refused)
        if source is not None and complete_to_ms is not None and not refused:
            client.labels(model, (), complete_to=(source, complete_to_ms))
    if as_json:
        print_json({"accepted": accepted, "refused": refused})
    else:
        console.print(f"{accepted} labels accepted, {len(refused)} refused")
        for each in refused[:MOST_TOLD]:
            complain(f"line {each.row}: {each.why}")
    raise typer.Exit(1 if refused else 0)


def _send(client: Client, model: str, batch: list[tuple[int, Label]], refused: list[Refusal]) -> int:
    if not batch:
        return 0
    said = client.labels(model, [label for _, label in batch])
    refused += [Refusal(row=batch[each.row][0], why=each.why) for each in said.refused]
    return said.accepted


def _labels(lines: TextIO) -> Iterator[tuple[int, Label]]:
    """(line number, label); a line that is none ends the import before it, with its number."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, Label(**json.loads(line))
        except (ValueError, TypeError) as error:
            hint = 'each line is {"id": TEXT, "task": TEXT, "value": NUMBER, "index"?: NUMBER, "known_ms"?: NUMBER}'
            raise BadInput(f"line {number} is no label: {error}", hint) from error


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="labels")
