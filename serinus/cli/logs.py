"""`serinus logs erase`: delete one entity's rows from the logs."""

from __future__ import annotations

from typing import Annotated

import typer

from serinus.cli.complete import Model
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json
from serinus.cli.versions import Yes, confirmed
from serinus.cli.waiting import waited

__all__ = ["add_to"]

group = typer.Typer(help="What was logged.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """What was logged."""


@group.command()
def erase(
    model: Model,
    entity: Annotated[str, typer.Option(help="The entity of the requests, such as a user id.")],
    *,
    yes: Yes = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Delete an entity's rows from the logs of a model. It cannot be undone; evidence that was given stays."""
    confirmed(f"Delete all that the logs of {model} have of {entity!r}? It cannot be undone.", yes)
    client = client_of(home)
    job = waited(client, client.erase(model, entity), quiet=as_json)
    if as_json:
        print_json(job)
        return
    for name, count in (job.result or {}).items():
        console.print(f"{name.replace('_', ' ')}: {count}", markup=False)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="logs")
