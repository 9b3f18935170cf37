"""What became of a resource: its status, its conditions, and what is worth an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from serinus.errors import SerinusError, Unavailable
from serinus.resources.metadata import Condition

__all__ = ["Outcome", "Told", "condition", "failed"]

MOST_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened: `reason` in CamelCase, `text` for people."""

    reason: str
    text: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status`: the resource's own fields of its status; a field that is None is not shown. `settled`: nothing is to
    come before somebody changes something. `gone`: of a deletion: nothing is left of it in the controller."""

    status: dict[str, Any]
    conditions: tuple[Condition, ...]
    told: tuple[Told, ...] = ()
    settled: bool = True
    gone: bool = False


def condition(
    kind: Literal["Ready", "Progressing", "Degraded"], holds: bool | None, reason: str, text: str = ""
) -> Condition:
    """`holds`: None: not known."""
    status: Literal["True", "False", "Unknown"] = "Unknown" if holds is None else "True" if holds else "False"
    return Condition(type=kind, status=status, reason=reason, message=text[:MOST_CHARACTERS])


def failed(error: SerinusError, status: dict[str, Any]) -> Outcome:
    """An attempt that the controller refused: it is told, and made again later.

    A controller that is away says nothing of what it has brought about: that may serve all the same."""
    text = f"{error.detail}; {error.advice}"[:MOST_CHARACTERS]
    conditions = (
        condition("Ready", None if isinstance(error, Unavailable) else False, error.code, text),
        condition("Progressing", False, error.code, text),
        condition("Degraded", True, error.code, text),
    )
    return Outcome(status, conditions, (Told(error.code, text, "Warning"),), settled=False)
