"""`serinus audit [list] | verify`: who did what to what."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

import typer

from serinus.cli.output import AsJson, HomeOption, client_of, complain, console, print_json, table, wall_time

__all__ = ["add_to"]

group = typer.Typer(help="Who did what to what.")
Subject = Annotated[str | None, typer.Option(help="What it was done to, such as models/ads/versions/3.")]
Actor = Annotated[str | None, typer.Option(help="Who did it: the name of a token.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")]


@group.callback(invoke_without_command=True)
def _alone(context: typer.Context, home: HomeOption = None) -> None:
    """Who did what to what. Alone: the newest entries."""
    if context.invoked_subcommand is None:
        _list(None, None, 50, home, False)


@group.command("list")
def list_(
    subject: Subject = None, actor: Actor = None, limit: Limit = 50, home: HomeOption = None, as_json: AsJson = False
) -> None:
    """List the newest entries of the audit log."""
    _list(subject, actor, limit, home, as_json)


def _list(subject: str | None, actor: str | None, limit: int, home: HomeOption, as_json: bool) -> None:
    found = list(islice(client_of(home).audit(subject, actor), limit))
    if as_json:
        print_json(found)
        return
    rows = [
        (each.number, wall_time(each.at), each.actor, each.action, each.subject,
         json.dumps(each.detail, ensure_ascii=False) if each.detail else "")
        for each in found
    ]  # fmt: skip
    table("", ("number", "when", "who", "did", "to", "detail"), rows)


@group.command()
def verify(
    kept: Annotated[str | None, typer.Option(help="NUMBER:SEAL, noted earlier: the log must still have it.")] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Check that every entry is as it was written, in its place. Exit code 1 when one is not."""
    found = client_of(home).audit_verify(kept)
    if as_json:
        print_json(found)
    elif found.ok:
        console.print(f"{found.entries} entries, each as it was written; note this elsewhere:")
        console.print(f"{found.head}:{found.seal}", soft_wrap=True)
    else:
        complain(f"the chain breaks at entry {found.broken_at}: {found.why}", "keep a copy of the database now")
    raise typer.Exit(0 if found.ok else 1)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="audit")
