"""Where the server rooms lie: inside the wheel, or beside this package in a checkout."""

from __future__ import annotations

from pathlib import Path

from serinus.errors import Unavailable

__all__ = ["rooms_path"]


def rooms_path() -> Path:
    """The folder to put on PYTHONPATH so that `controller`, `serving`, `monitors` and `deploy` can be imported.

    An environment with Serinus installed does not see names as general as `serving`: the wheel carries the rooms as
    data, and only the processes that `serinus up` starts find them. Raises Unavailable when they are not there."""
    package = Path(__file__).resolve().parent
    for folder in (package / "_rooms", package.parent):
        if (folder / "deploy" / "local.py").is_file():
            return folder
    raise Unavailable("the server rooms are not beside this installation", "install Serinus again from its wheel")
