"""`serinus token list | create | revoke | file`: who may use the API."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serinus.cli.output import AsJson, HomeOption, client_of, console, print_json, table, wall_time
from serinus.client.where import local_stack
from serinus.errors import BadInput
from serinus.home import Home

__all__ = ["add_to"]

DAY_S = 86_400

group = typer.Typer(help="Who may use the API.")


class Role(StrEnum):
    VIEWER = "viewer"
    ENGINEER = "engineer"
    OPERATOR = "operator"
    ADMIN = "admin"
    REPLICA = "replica"
    MONITOR = "monitor"


@group.callback(invoke_without_command=True)
def _alone(context: typer.Context, home: HomeOption = None) -> None:
    """Who may use the API. Alone: the file of the local stack's own token."""
    if context.invoked_subcommand is None:
        console.print(local_stack(Home(home)).token_file, soft_wrap=True)


@group.command("list")
def list_(home: HomeOption = None, as_json: AsJson = False) -> None:
    """List tokens by name and role; a token itself is shown once, when it is made."""
    found = client_of(home).tokens()
    if as_json:
        print_json(found)
        return
    rows = [
        (each.name, each.role, wall_time(each.created_at), _end(each.expires_at), wall_time(each.last_used_at),
         each.source)
        for each in found
    ]  # fmt: skip
    table("", ("token", "role", "made", "expires", "last used", "from"), rows)


@group.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is: it stands in histories and in the audit log.")],
    role: Annotated[Role, typer.Option(help="What it may do.")],
    *,
    days: Annotated[float | None, typer.Option(min=0.001, help="Good for so many days (for ever).")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it to this new file (0600), not out.")] = None,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It is printed once; the server keeps only its hash."""
    if out is not None and out.exists():
        raise BadInput(f"{out} exists already", "a token is never written over another file")
    made = client_of(home).token_create(name, role.value, days * DAY_S if days is not None else None)
    if out is not None:
        with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made.token + "\n")
        made = made.model_copy(update={"token": ""})
    if as_json:
        print_json(made)
    elif out is not None:
        console.print(f"{made.name} ({made.role}): {out}", markup=False, soft_wrap=True)
    else:
        console.print(made.token, markup=False, soft_wrap=True)


@group.command()
def revoke(name: Annotated[str, typer.Argument(help="Name of the token.")], home: HomeOption = None) -> None:
    """Make a token good for nothing, at once."""
    client_of(home).token_revoke(name)
    console.print(f"{name} is revoked", markup=False)


@group.command()
def me(home: HomeOption = None, as_json: AsJson = False) -> None:
    """Say whose token this is, and its role."""
    found = client_of(home).me()
    if as_json:
        print_json(found)
    else:
        console.print(f"{found.name}: {found.role}", markup=False)


def _end(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="token")
