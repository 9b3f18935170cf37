"""Where Serinus answers, and with which token one may ask."""

from __future__ import annotations

from pathlib import Path

from serinus.errors import Unavailable
from serinus.home import Home, Stack

__all__ = ["local_stack", "read_token"]


def local_stack(home: Home) -> Stack:
    """Where the local stack of this home answers. Raises Unavailable when it is not up."""
    stack = home.stack()
    if stack is None:
        why = f"no local stack is up in {home.path}"
        raise Unavailable(why, "`serinus up` starts one; or set SERINUS_API and SERINUS_SERVING to where Serinus runs")
    return stack


def read_token(path: str | Path) -> str:
    """The token in a file. Raises Unavailable that names the file when it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise Unavailable(f"the token file {path} cannot be read: {error.strerror}") from error
