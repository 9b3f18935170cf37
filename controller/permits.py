"""Roles in their order: each may do what those before it may."""

from __future__ import annotations

from controller.auth import PEOPLE, Caller, Role
from serinus.errors import NotAllowed

__all__ = ["must_be"]


def must_be(caller: Caller, role: str) -> None:
    """Raise NotAllowed when the caller is no person of at least this role; nobody is `controller` but the process."""
    order: dict[str, int] = {each: at for at, each in enumerate(PEOPLE)}
    mine: Role = caller.role
    if role not in order or order.get(mine, -1) < order[role]:
        raise NotAllowed(f"token {caller.name!r} has role {mine}; this needs {role}")
