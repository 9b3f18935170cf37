"""`serinus get pools | models | rollouts`: what the controller knows, as resources."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from serinus.cli.output import AsJson, HomeOption, print_json, table, wall_time
from serinus.client import AsyncClient
from serinus.resources.columns import COLUMNS, cell
from serinus.resources.shown import shown

__all__ = ["add_to"]


class Kind(StrEnum):
    """What can be listed."""

    POOLS = "pools"
    MODELS = "models"
    ROLLOUTS = "rollouts"


class Form(StrEnum):
    """How it is shown."""

    TABLE = "table"
    WIDE = "wide"
    YAML = "yaml"
    JSON = "json"


OF = {Kind.POOLS: "ServingPool", Kind.MODELS: "MultiTaskModel", Kind.ROLLOUTS: "Rollout"}


def get(
    kind: Annotated[Kind, typer.Argument(help="What to list.", show_choices=True)],
    name: Annotated[str | None, typer.Argument(help="Only this one; of rollouts an id, or those of a model.")] = None,
    form: Annotated[Form, typer.Option("--output", "-o", help="How.")] = Form.TABLE,
    home: HomeOption = None,
    as_json: AsJson = False,
) -> None:
    """List pools, models or rollouts as resources, in the columns of kubectl."""
    found = asyncio.run(_shown(home, OF[kind], name))
    match Form.JSON if as_json else form:
        case Form.JSON:
            print_json(found)
        case Form.YAML:
            sys.stdout.write(yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True))
        case chosen:
            _table(OF[kind], found, wide=chosen is Form.WIDE)


async def _shown(home: Path | None, kind: str, name: str | None) -> list[dict[str, Any]]:
    async with AsyncClient(home=home) as client:
        return await shown(client, kind, name)


def _table(kind: str, found: list[dict[str, Any]], *, wide: bool) -> None:
    columns = [(head, path) for head, _, path, priority in COLUMNS[kind] if head != "Id" and (wide or not priority)]
    rows = [
        (each["status"].get("id", each["metadata"]["name"]), *(cell(each, path) for _, path in columns), _age(each))
        for each in found
    ]
    table("", ("name", *(head.lower() for head, _ in columns), "began"), rows)


def _age(body: dict[str, Any]) -> str:
    at = body["metadata"].get("creationTimestamp")
    return wall_time(datetime.fromisoformat(at).timestamp()) if at else ""


def add_to(app: typer.Typer) -> None:
    app.command()(get)
