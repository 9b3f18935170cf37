"""`serinus apply | push | versions | promote | rollback`: models and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table, wall_time
from serinus.errors import BadInput
from serinus.sla import Sla

__all__ = ["Model", "add_to"]

Model = Annotated[str, typer.Argument(help="Name of the model.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it stays in the history.")]


def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="The SLA, YAML.", exists=True, dir_okay=False)],
    pool: Annotated[str, typer.Option(help="Serving pool of the model.")] = "default",
    home: HomeOption = None,
) -> None:
    """Create a model with the SLA of a file, or give it that SLA from now on."""
    sla = Sla.from_yaml(file.read_text())
    view = client_of(home).apply(sla, pool)
    console.print(f"{view.model}: {len(sla.tasks)} tasks, {len(sla.cells())} cells are guarded")


def push(
    model: Model,
    folder: Annotated[Path, typer.Argument(help="The package.", exists=True, file_okay=False)],
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Register a package as a version. The same package again is the same version."""
    bar = (
        TextColumn("pushing"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[then]}"),
    )
    with Progress(*bar, console=console, transient=True, disable=as_json) as progress:
        shown = progress.add_task("push", total=None, then="")

        def sent(done: int, total: int) -> None:
            progress.update(shown, completed=done, total=total, then="checking" if done == total else "")

        version = client_of(home).push(model, folder, sent)
    if as_json:
        print_json(version)
    else:
        known = "" if version.created else ", which was registered already"
        console.print(f"{model} version {version.version}{known}  (sha256 {version.digest[:12]})")


def versions(model: Model, home: HomeOption = None, as_json: AsJson = False) -> None:
    """List the versions of a model, and which of them its aliases name."""
    client = client_of(home)
    found, aliases = client.versions(model), client.model(model).aliases
    if as_json:
        print_json({"versions": found, "aliases": aliases})
        return
    rows = [
        (each.version, ", ".join(name for name, its in aliases.items() if its == each.version), each.digest[:12],
         wall_time(each.created_at))
        for each in found
    ]  # fmt: skip
    table("", ("version", "alias", "sha256", "registered"), rows)


def promote(
    model: Model,
    version: Annotated[int, typer.Argument(min=1)],
    reason: Reason = "",
    initial: Annotated[bool, typer.Option("--initial", help="The model has no stable version yet.")] = False,
    home: HomeOption = None,
) -> None:
    """Make a version stable at once, without evidence: the first one, or with a reason."""
    if not initial and not reason:
        raise BadInput(
            "a promotion without evidence needs a reason", "--reason TEXT, or --initial for the first version"
        )
    client_of(home).promote(model, version, reason, initial)
    console.print(f"{model} version {version} is stable")


def rollback(model: Model, reason: Reason, home: HomeOption = None) -> None:
    """Go back at once: from the active rollout to its baseline, else to the previous stable version."""
    client = client_of(home)
    view = client.rollback(model, reason)
    stable = client.model(model).aliases.get("stable")
    what = f"rollout {view.id} is {view.phase}" if view is not None else "the previous version is back"
    console.print(f"{model}: {what}; stable is version {stable}")


def add_to(app: typer.Typer) -> None:
    for command in (apply, push, versions, promote, rollback):
        app.command()(command)
