"""The database's URL in a file: its password rotates without a restart."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.exc import ArgumentError

from serinus.errors import BadInput

__all__ = ["follow", "read_url"]

log = logging.getLogger(__name__)


def read_url(file: Path) -> str:
    """What the file holds. Raises BadInput that names the file and never what is in it."""
    try:
        told = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"SERINUS_DATABASE_URL_FILE {file} cannot be read: {type(error).__name__}") from error
    if not told:
        raise BadInput(f"SERINUS_DATABASE_URL_FILE {file} is empty", "write the URL of the database into it")
    return told


def follow(engine: Engine, file: Path) -> None:
    """Every new connection logs in as the file says at that time; as before, while the file is not usable.

    Another server or database is not taken from it: connections to both would be open side by side."""
    login, said = engine.url, ""

    @event.listens_for(engine, "do_connect")
    def on_connect(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        nonlocal login, said
        try:
            login, why = _same_place(make_url(read_url(file)), engine.url), ""
        except BadInput as error:
            why = error.detail
        except ArgumentError:
            why = f"SERINUS_DATABASE_URL_FILE {file} holds no URL"
        if why and why != said:
            log.error("the login of the database stays as it was: %s", why)
        said = why
        for key, value in (("user", login.username), ("password", login.password)):
            parameters.pop(key, None)
            if value is not None:
                parameters[key] = str(value)


def _same_place(told: URL, place: URL) -> URL:
    """`told`, when it is a login of the database that `place` names. Raises BadInput."""
    if (told.host, told.port, told.database, told.query) != (place.host, place.port, place.database, place.query):
        raise BadInput("SERINUS_DATABASE_URL_FILE names another database: a restart takes it there")
    return told
