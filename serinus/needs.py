"""The guards that the steps of a plan need, against those that an SLA has."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from serinus.rollouts import Plan

__all__ = ["unknown_need"]


def unknown_need(plan: Plan, guards: Iterable[str]) -> str:
    """What is wrong with the guards that the steps need; "" when each names one at least."""
    known = list(guards)
    for at, step in enumerate(plan.steps):
        for name in step.needs or ():
            if not any(fnmatchcase(guard, name) for guard in known):
                return f"steps.{at}.needs: {name!r} names no guard; there are {', '.join(known[:20])}"
    return ""
