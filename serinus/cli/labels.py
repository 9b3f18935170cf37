"""`serinus labels import`: labels from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from serinus.cli.complete import Model
from serinus.cli.output import AsJson, HomeOption, complain, console, print_json
from serinus.client import Client
from serinus.client.label_files import TABLES

__all__ = ["add_to"]

MOST_TOLD = 20

group = typer.Typer(help="Hand in labels.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Hand in labels."""


@group.command("import")
def import_(
    model: Model,
    file: Annotated[Path, typer.Argument(help="JSON lines, CSV, Parquet or Arrow.", exists=True, dir_okay=False)],
    *,
    source: Annotated[str | None, typer.Option(help="Label source that is now complete; with --complete-to.")] = None,
    complete_to_ms: Annotated[int | None, typer.Option(help="Event time up to which it is complete (Unix ms).")] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Labels of other times than now (replay token).")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Hand in the labels of a file: JSON lines, .csv, .parquet, .arrow or .feather (the last three need pyarrow).

    Columns: id, or join_key and event_time_ms; task, value; index and known_ms where there are any. Exit code 1 when a
    row was refused; the other rows are kept, and importing the file again does no harm."""
    if (source is None) != (complete_to_ms is None):
        raise typer.BadParameter("--source and --complete-to-ms belong together")
    with Client(home=home, replay=replay) as client, Progress(console=console, transient=True, disable=as_json) as bar:
        task = bar.add_task("labels", total=1.0)
        said = client.import_labels(model, file, lambda share: bar.update(task, completed=share))
        if source is not None and complete_to_ms is not None and not said.refused:
            client.labels(model, (), complete_to=(source, complete_to_ms))
    if as_json:
        print_json(said)
    else:
        count = len(said.refused) + said.more_refused
        console.print(f"{said.accepted} labels accepted, {count} refused")
        for each in said.refused[:MOST_TOLD]:
            complain(f"{'row' if file.suffix in TABLES else 'line'} {each.row}: {each.why}")
        if count > MOST_TOLD:
            complain(f"and {count - MOST_TOLD} more")
    raise typer.Exit(1 if said.refused else 0)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="labels")
