"""Who looks at a page, as a parameter of its handler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from controller.auth import PEOPLE, Caller
from controller.console.guard import check_form, check_host, secret_of
from controller.console.sessions import caller_of, csrf_of, open_to_all
from controller.permits import must_be
from controller.services import Used
from serinus.errors import Unauthenticated

__all__ = ["Fields", "Visit", "Visitor"]


@dataclass(frozen=True, slots=True)
class Visit:
    """`known`: there are tokens, so it was somebody's log-in that let them in. `csrf`: for every form of the page."""

    caller: Caller
    csrf: str
    known: bool

    def may(self, role: str) -> bool:
        """Whether the visitor's role is at least this one."""
        order: dict[str, int] = {each: at for at, each in enumerate(PEOPLE)}
        return role in order and order[self.caller.role] >= order[role]

    def need(self, role: str) -> None:
        """Raises NotAllowed."""
        must_be(self.caller, role)


def _visit(request: Request, services: Used) -> Visit:
    """Raises Unauthenticated, NotAllowed."""
    secret = secret_of(request)
    with services.db.read() as session:
        if everybody := open_to_all(session):
            check_host(request)
        caller = caller_of(session, secret, services.clock())
    if caller is None:
        raise Unauthenticated("nobody is logged in here, or no longer", "log in again")
    visit = Visit(caller, csrf_of(secret), not everybody)
    request.state.visit = visit
    return visit


Visitor = Annotated[Visit, Depends(_visit)]
Fields = Annotated[Mapping[str, str], Depends(check_form)]
"""The fields of a form; whoever sent it from another site, or without the session's mark, is refused before."""
