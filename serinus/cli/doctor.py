"""`serinus doctor`: what is wrong with a Serinus that runs, and what to do next."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from serinus.cli.output import AsJson, HomeOption, console, print_json
from serinus.client.where import read_token
from serinus.doctor import Finding, Visit, visit
from serinus.home import Home

__all__ = ["add_to"]

MOST = 12
"""Findings that are printed: the rest is told as a number."""


def doctor(
    home: HomeOption = None,
    *,
    api: Annotated[
        str | None, typer.Option(envvar="SERINUS_API", help="A controller's URL, instead of --home.")
    ] = None,
    serving: Annotated[
        str | None, typer.Option(envvar="SERINUS_SERVING", help="The serving side's URL; only with --api.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at a stack or at a controller: what is wrong, and what to do next. Exit code 1 when anything is wrong."""
    token = read_token(file) if (file := os.environ.get("SERINUS_TOKEN_FILE")) else ""
    found = visit(Home(home), api, serving if api else None, token)
    if as_json:
        told = {"where": found.where, "healthy": found.healthy, "checked": found.checked, "findings": found.findings}
        print_json(told)
    else:
        console.print(_shown(found), soft_wrap=True)
    if not found.healthy:
        raise typer.Exit(1)


def _shown(found: Visit) -> RenderableType:
    wrong = sum(each.level == "wrong" for each in found.findings)
    look = len(found.findings) - wrong
    words = [f"{wrong} wrong"] if wrong else []
    words += [f"{look} to look at"] if look else []
    head = Text(f"{found.where}: {', '.join(words) or 'nothing is wrong'}", "bold red" if wrong else "bold green")
    lines = [line for each in found.findings[:MOST] for line in _lines(each)]
    if (more := len(found.findings) - MOST) > 0:
        lines.append(Text(f"and {more} more (--json has all)"))
    return Group(head, *lines, Text(f"looked at: {', '.join(found.checked)}", "dim"))


def _lines(each: Finding) -> list[Text]:
    mark = Text("WRONG " if each.level == "wrong" else "look  ", "bold red" if each.level == "wrong" else "yellow")
    model = f" [{each.model}]" if each.model else ""
    page = f"  ({each.runbook})" if each.runbook else ""
    return [mark + Text(f" {each.what}{model}: {each.text}"), Text(f"        -> {each.do}{page}", "dim")]


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)
