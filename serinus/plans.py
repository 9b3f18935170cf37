"""What a plan says of the guards of an SLA, checked before anything begins."""

from __future__ import annotations

from serinus.errors import BadInput
from serinus.needs import unknown_need
from serinus.rollouts import Plan
from serinus.sla import Sla

__all__ = ["check_plan"]


def check_plan(plan: Plan, sla: Sla) -> None:
    """Raise BadInput when a step needs a guard that the SLA does not have."""
    if any(step.needs for step in plan.steps):
        wrong = unknown_need(plan, (cell.name for cell in sla.cells()))
        if wrong:
            raise BadInput(f"plan.{wrong}")
