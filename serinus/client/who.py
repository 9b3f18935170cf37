"""Who runs this, for histories."""

from __future__ import annotations

import getpass

__all__ = ["who"]


def who() -> str | None:
    """The user's name; None (then it is the token's) where the system does not know."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
