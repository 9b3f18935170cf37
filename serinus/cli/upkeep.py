"""`serinus gc`, `serinus events`, `serinus console`."""

from __future__ import annotations

import os
import webbrowser
from typing import Annotated, Any

import typer

from serinus.cli.complete import models
from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, print_line
from serinus.client.cards import GarbageView

__all__ = ["add_to"]


def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Do it; else it only says what it would do.")] = False,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Delete stored packages that no version names; never one that an alias, a rollout or a replica names."""
    found = client_of(home).garbage(dry_run=not delete)
    if as_json:
        print_json(found)
        return
    for name, value in _told(found):
        console.print(f"{name.replace('_', ' ')}: {value}", markup=False, soft_wrap=True)
    if not delete:
        console.print("nothing was deleted: `serinus gc --delete` does it")


def events(
    model: Annotated[str | None, typer.Argument(help="Only of this model.", autocompletion=models)] = None,
    after: Annotated[str, typer.Option(help="Go on after the event with this id.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after so many.")] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Follow what changes, as it changes, until Ctrl-C. With --json one object a line."""
    last, count = after, 0
    try:
        for event in client_of(home).events(model, after):
            last, count = event.id, count + 1
            if as_json:
                print_line(event)
            else:
                said = ", ".join(f"{name} {value}" for name, value in event.data.items() if value is not None)
                console.print(f"{event.kind}  {said}  [{event.id}]", markup=False, soft_wrap=True)
            if count == limit:
                return
    except KeyboardInterrupt:
        if last and not as_json:
            console.print(f"to go on from here:  serinus events --after {last}", markup=False)


def console_(
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser, logged in.")] = False,
    home: HomeOption = None,
) -> None:
    """Say where the console is, and how to log in."""
    client = client_of(home)
    url = f"{client.api.url}/console"
    console.print(url, markup=False, soft_wrap=True)
    if "SERINUS_API" not in os.environ:
        console.print(f"log in with the token in {client.stack.token_file}", markup=False, soft_wrap=True)
    if open_:
        webbrowser.open(client.console_link())


def _told(found: GarbageView) -> list[tuple[str, Any]]:
    told = found.model_dump(exclude={"dry_run"})
    return [(name, f"{len(value)}" if isinstance(value, list | tuple) else value) for name, value in told.items()]


def add_to(app: typer.Typer) -> None:
    app.command()(gc)
    app.command()(events)
    app.command("console")(console_)
