"""All dashboards as JSON. `python -m serinus.grafana.boards FOLDER` writes them, for Grafana to read as files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from serinus.grafana.happened import happened
from serinus.grafana.machines import control, serving
from serinus.grafana.models import health, rollout
from serinus.grafana.overview import fleet

__all__ = ["boards", "written"]


def boards() -> dict[str, dict[str, Any]]:
    """uid -> the dashboard's JSON model."""
    made = [each().build() for each in (fleet, health, rollout, serving, control, happened)]
    plain: list[dict[str, Any]] = [json.loads(json.dumps(board, cls=JSONEncoder)) for board in made]
    for each in plain:
        for number, panel in enumerate(each["panels"], 1):
            panel["id"] = number
    return {str(each["uid"]): each for each in plain}


def written() -> dict[str, str]:
    """File name -> text."""
    return {f"{uid}.json": json.dumps(board, indent=1, sort_keys=True) + "\n" for uid, board in boards().items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written().items():
        (folder / name).write_text(text)
