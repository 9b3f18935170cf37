"""The last route tables on disk, so that a pool starts and serves without the controller."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from pydantic import ValidationError

from serinus.routes import RouteTable
from serinus.tasks import NAME
from serving.recorder import replace_file

log = logging.getLogger(__name__)


class RoutesCache:
    """One file per model, MODEL.json; all replicas of a pool share the folder. A failing disk is only logged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> list[RouteTable]:
        """Every readable table; one that is damaged or of another format is left out."""
        found = (self._read(path) for path in sorted(self._folder.glob("*.json")))
        return [table for table in found if table is not None]

    def write(self, table: RouteTable) -> None:
        """Keep this table, unless a newer one is kept already."""
        path = self._path(table.model)
        kept = self._read(path) if path.is_file() else None
        if kept is not None and kept.epoch >= table.epoch:
            return
        try:
            replace_file(path, table.model_dump_json().encode(), durable=False)
        except OSError as error:
            log.warning("the route table of %s cannot be kept: %s", table.model, error)

    def remove(self, model: str) -> None:
        try:
            self._path(model).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the route table of %s cannot be removed: %s", model, error)

    def _path(self, model: str) -> Path:
        if not re.fullmatch(NAME, model):
            raise ValueError(f"{model!r} is no name of a model")
        return self._folder / f"{model}.json"

    def _read(self, path: Path) -> RouteTable | None:
        try:
            return RouteTable.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("%s is no route table: %s", path, error)
            return None
