"""Roles in their order: each may do what those before it may."""

from __future__ import annotations

from controller.auth import PEOPLE, Caller, Role
from controller.words import StartBody
from serinus.errors import BadInput, NotAllowed
from serinus.rollouts import Plan

__all__ = ["check_untried", "must_be"]


def must_be(caller: Caller, role: str) -> None:
    """Raise NotAllowed when the caller is no person of at least this role; nobody is `controller` but the process."""
    order: dict[str, int] = {each: at for at, each in enumerate(PEOPLE)}
    mine: Role = caller.role
    if role not in order or order.get(mine, -1) < order[role]:
        raise NotAllowed(f"token {caller.name!r} has role {mine}; this needs {role}")


def check_untried(caller: Caller, body: StartBody, usual: Plan) -> None:
    """Raise NotAllowed or BadInput when a rollout leaves out the preflight and the caller may not, or says not why.

    `usual`: the plan of the SLA."""
    leaves_out = body.plan is not None and body.plan.preflight is None and usual.preflight is not None
    if not (body.skip_preflight or leaves_out):
        return
    must_be(caller, "operator")
    if not body.reason.strip():
        raise BadInput(
            "a rollout without a preflight needs a reason: its users are the first who meet the version",
            "say why with `reason`, such as: no traffic was logged yet",
        )
