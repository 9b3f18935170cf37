"""What a plan says of the guards of an SLA, checked before anything begins."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from serinus.errors import BadInput
from serinus.rollouts import Plan
from serinus.sla import Sla

__all__ = ["check_plan", "unknown_need"]


def unknown_need(plan: Plan, guards: Iterable[str]) -> str:
    """What is wrong with the guards that the steps need; "" when each names one at least."""
    known = list(guards)
    for at, step in enumerate(plan.steps):
        for name in step.needs or ():
            if not any(fnmatchcase(guard, name) for guard in known):
                return f"steps.{at}.needs: {name!r} names no guard; there are {', '.join(known[:20])}"
    return ""


def check_plan(plan: Plan, sla: Sla) -> None:
    """Raise BadInput when a step needs a guard that the SLA does not have."""
    if any(step.needs for step in plan.steps):
        wrong = unknown_need(plan, (cell.name for cell in sla.cells()))
        if wrong:
            raise BadInput(f"plan.{wrong}")
