"""Rollout: a version that is to become stable, if its evidence lets it. What it asks for never changes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serinus.resources.metadata import Resource, ResourceName
from serinus.resources.package import PackageSource
from serinus.rollouts import Plan
from serinus.tasks import Word

__all__ = ["Rollout", "RolloutSpec"]


class RolloutSpec(Word):
    """Of `model`, either a `version` that is registered, or a `package`. `plan`: None: that of the SLA.

    `reason`: needed for a version that was rolled back before. `queue`: wait behind the rollout that goes on."""

    model: ResourceName
    version: Annotated[int, Field(ge=1)] | None = None
    package: PackageSource | None = None
    plan: Plan | None = None
    reason: Annotated[str, Field(max_length=1_000)] = ""
    queue: bool = False

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.version is None) == (self.package is None):
            raise ValueError("a rollout needs either a version or a package")
        return self


class Rollout(Resource):
    """Its UID is the key by which it is started once, however often it is applied."""

    kind: Literal["Rollout"]
    spec: RolloutSpec
