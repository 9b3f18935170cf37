"""How commands show things: tables for people, JSON for programs, and words about time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from serinus.client import Client

__all__ = [
    "AsJson",
    "HomeOption",
    "Reason",
    "client_of",
    "complain",
    "console",
    "event_time",
    "print_json",
    "print_line",
    "table",
    "table_of",
    "wall_time",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
HomeOption = Annotated[
    Path | None, typer.Option("--home", envvar="SERINUS_HOME", help="State folder of the local stack (~/.serinus).")
]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; it stays in the history.")]

console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def client_of(home: Path | None) -> Client:
    return Client(home=home)


def complain(detail: str, advice: str = "") -> None:
    """An error as people read it, on stderr: what happened, then what to do."""
    _errors.print(f"[red]error[/red]: {escape(detail)}", soft_wrap=True)
    if advice:
        _errors.print(f"  -> {escape(advice)}", soft_wrap=True)


def print_json(what: Any) -> None:
    """A view, a list of views or plain JSON, on stdout."""
    sys.stdout.write(json.dumps(_plain(what), indent=2) + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; None is an empty cell, numbers stand to the right."""
    console.print(table_of(title, columns, rows))


def table_of(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """The same, to be printed later."""
    made = Table(title=title or None, title_justify="left", header_style="bold")
    listed = [list(row) for row in rows]
    for at, column in enumerate(columns):
        numbers = bool(listed) and all(isinstance(row[at], int | float | None) for row in listed)
        made.add_column(column, justify="right" if numbers else "left")
    for row in listed:
        made.add_row(*(_shown(cell) for cell in row))
    return made


def print_line(what: Any) -> None:
    """The same as JSON on one line, at once: for programs that read along."""
    sys.stdout.write(json.dumps(_plain(what), separators=(",", ":")) + "\n")
    sys.stdout.flush()


def event_time(ms: int | None) -> str:
    """Event time as text, UTC."""
    return "" if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def wall_time(at_s: float | None) -> str:
    """Wall time as "12 s ago", or the date when it is long ago."""
    if at_s is None:
        return ""
    ago = time.time() - at_s
    for limit, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if ago < limit:
            return f"{max(ago, 0) / size:.0f} {unit} ago"
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M")


def _shown(cell: object) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text("" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell))


def _plain(what: Any) -> Any:
    if isinstance(what, BaseModel):
        return what.model_dump(mode="json")
    if isinstance(what, dict):
        return {name: _plain(value) for name, value in what.items()}
    return [_plain(each) for each in what] if isinstance(what, list | tuple) else what
