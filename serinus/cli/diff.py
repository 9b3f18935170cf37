"""`serinus diff`: two versions side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.complete import Model, versions
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table
from serinus.diff import VersionDiff
from serinus.errors import BadInput

__all__ = ["add_to"]

Old = Annotated[int | None, typer.Argument(min=1, help="The stable one, if left out.", autocompletion=versions)]
New = Annotated[int | None, typer.Argument(min=1, help="The newest, if left out.", autocompletion=versions)]


def diff(
    model: Model,
    old: Old = None,
    new: New = None,
    *,
    metric: Annotated[str | None, typer.Option(help="Only this metric.")] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Compare two versions: what their makers measured per task and slice, and what they are made of."""
    client = client_of(home)
    old = old or client.model(model).aliases.get("stable")
    if old is None:
        raise BadInput(f"{model} has no stable version to compare with", "say both versions: serinus diff MODEL 1 2")
    found = client.diff(model, old, new or max(each.version for each in client.versions(model)))
    if as_json:
        print_json(found)
    else:
        _tell(found, metric)


def _tell(found: VersionDiff, metric: str | None) -> None:
    rows = [
        (n.task, n.slice, n.metric, n.old, n.new, n.difference)
        for n in found.numbers
        if metric is None or n.metric == metric
    ]
    names = ("task", "slice", "metric", f"version {found.old.version}", f"version {found.new.version}", "difference")
    if rows:
        table(f"{found.model}: what their makers measured", names, rows)
    for each in found.changes:
        console.print(f"{each.what} {each.name}: {each.change}", markup=False, soft_wrap=True)
        if each.change == "changed":
            for name in sorted({*(each.old or {}), *(each.new or {})}):
                was, now = (each.old or {}).get(name), (each.new or {}).get(name)
                if was != now:
                    console.print(f"  {name}: {was} -> {now}", markup=False, soft_wrap=True)
    size = found.size_bytes
    if size.old is not None and size.new is not None:
        console.print(f"size: {size.old / 1e6:.2f} -> {size.new / 1e6:.2f} MB")
    if found.precision_changed:
        console.print(f"precision: {found.old.precision} -> {found.new.precision}")
    console.print("Training metrics are no evidence: a rollout decides.", style="dim")


def add_to(app: typer.Typer) -> None:
    app.command()(diff)
