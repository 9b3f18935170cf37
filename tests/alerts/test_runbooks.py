"""Runbooks speak of commands and pages that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from serinus.cli.app import app
from tests.alerts.rulebook import REPOSITORY

PAGES = sorted((REPOSITORY / "deploy" / "runbooks").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_runbook_exist(page: Path) -> None:
    text = page.read_text()
    said = re.findall(r"`(serinus [^`]+)`", text) + re.findall(r"^\$ (serinus .+)$", text, re.MULTILINE)
    assert said
    for line in said:
        command: Any = typer.main.get_command(app)
        words = line.split()[1:]
        while words and hasattr(command, "commands"):
            name = words.pop(0)
            found = command.commands.get(name)
            assert found is not None, f"{line}: {name}"
            command = found
        options = {name for each in command.params for name in each.opts}
        assert {word for word in words if word.startswith("-") and word != "--help"} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_runbook_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
