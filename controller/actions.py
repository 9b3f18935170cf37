"""What a decision wants done beside the change of the rollout itself; each may be done twice without harm."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Action", "Alert", "Promote", "Refuse", "Restore"]


@dataclass(frozen=True, slots=True)
class Promote:
    """`version` becomes stable, the present stable becomes previous."""

    version: int
    why: str


@dataclass(frozen=True, slots=True)
class Restore:
    """`version` becomes stable again, and previous points where it did before the promotion."""

    version: int
    why: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Somebody on call should know."""

    text: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The human command was overtaken by what the evidence says; who gave it is told so."""

    why: str


Action = Promote | Restore | Alert | Refuse
