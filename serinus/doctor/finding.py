"""What the doctor says of one trouble."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Finding", "runbook"]


class Finding(BaseModel):
    """`wrong`: something does not work; `look`: it works, and a person should know. `do`: what to do next.

    `runbook`: the page of the repository that tells more; "" when there is none."""

    model_config = ConfigDict(frozen=True)

    level: Literal["wrong", "look"]
    what: str
    text: str
    do: str
    model: str = ""
    runbook: str = ""


def runbook(alert: str) -> str:
    """The page of an alert; `alert`: its name in kebab case, `log-lag`."""
    return f"deploy/runbooks/{alert}.md"
