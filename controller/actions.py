"""What a decision wants done beside the change of the rollout itself; each may be done twice without harm."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.notices import GuardNumbers, NoticeKind

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
    """Somebody on call should know. `rollout`: its id. `guards`: those that it is about, with their numbers.

    `key`: the same for the same trouble of a rollout. `resolved`: it is over."""

    kind: NoticeKind
    model: str
    rollout: str
    text: str
    guards: tuple[GuardNumbers, ...] = ()
    key: str = ""
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Refuse:
    """The human command was overtaken by what the evidence says; who gave it is told so."""

    why: str


Action = Promote | Restore | Alert | Refuse
