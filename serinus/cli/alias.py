"""`serinus alias list | set | delete | history`: names of versions."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.complete import Model, Version
from serinus.cli.output import AsJson, HomeOption, Reason, client_of, console, print_json, table, wall_time

__all__ = ["add_to"]

Alias = Annotated[str, typer.Argument(help="One of your own; `stable` and `previous` move by promotions alone.")]

group = typer.Typer(help="Names of versions, and who moved them.", no_args_is_help=True)


@group.command("list")
def list_(model: Model, home: HomeOption = None, as_json: AsJson = False) -> None:
    """List the aliases of a model."""
    found = client_of(home).aliases(model)
    if as_json:
        print_json(found)
    else:
        table("", ("alias", "version"), sorted(found.items()))


@group.command("set")
def set_(model: Model, alias: Alias, version: Version, reason: Reason = "", home: HomeOption = None) -> None:
    """Let an alias name a version."""
    client_of(home).alias_set(model, alias, version, reason)
    console.print(f"{model}: {alias} is version {version}", markup=False)


@group.command()
def delete(model: Model, alias: Alias, reason: Reason = "", home: HomeOption = None) -> None:
    """Take an alias away; its version stays."""
    client_of(home).alias_delete(model, alias, reason)
    console.print(f"{model}: {alias} is no alias any more", markup=False)


@group.command()
def history(model: Model, home: HomeOption = None, as_json: AsJson = False) -> None:
    """Tell who moved which alias, when and why."""
    found = client_of(home).alias_history(model)
    if as_json:
        print_json(found)
        return
    rows = [(wall_time(m.at), m.alias, m.was, m.version, m.reason, m.actor, m.rollout) for m in found]
    table("", ("when", "alias", "was", "is", "why", "by", "rollout"), rows)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="alias")
