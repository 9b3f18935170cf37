"""docs/cli.md lists every command, and no command that there is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer

from serinus.cli import app, exits

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(command: Any, *path: str) -> set[str]:
    inner = getattr(command, "commands", None)
    if not inner:
        return {" ".join(path)}
    return {name for each, its in inner.items() for name in commands(its, *path, each)}


def test_every_command_has_its_line_and_every_line_its_command() -> None:
    listed = re.findall(r"^\| `serinus ([^`]+)` \|", PAGE, re.MULTILINE)
    named = {re.match(r"[a-z -]+[a-z]|[a-z]+", line)[0] for line in listed}  # type: ignore[index]
    there = commands(typer.main.get_command(app))
    told = {
        next((name for name in sorted(there, key=len, reverse=True) if each.startswith(name)), each) for each in named
    }
    assert told == there
    assert len(listed) == len(there)


def test_every_exit_code_is_told() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    codes = {getattr(exits, name) for name in exits.__all__ if name != "ENDED"}
    assert told == {0, 1, 2, *codes}
