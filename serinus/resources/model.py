"""MultiTaskModel: a model's SLA, its pool, and the package that it begins with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from serinus.resources.metadata import Resource, ResourceName
from serinus.resources.package import PackageSource
from serinus.routes import Weights
from serinus.sla import Sla
from serinus.tasks import Name, Word

__all__ = ["ModelSpec", "MultiTaskModel"]


class ModelSpec(Word):
    """`pool`: name of a ServingPool. `sla`: as in a file of an SLA, without `model`, which is the resource's name.

    `package`: the first version, stable at once when the model has none; a later one needs a Rollout.
    `signed_by`: names of keys, one of which must have signed every version; None leaves that as it is.
    `weights`: of rankings; None leaves them as they are."""

    pool: ResourceName = "default"
    sla: Sla
    package: PackageSource | None = None
    signed_by: Annotated[tuple[Name, ...], Field(max_length=16)] | None = None
    weights: Weights | None = None


class MultiTaskModel(Resource):
    """Its name is the model's name."""

    kind: Literal["MultiTaskModel"]
    spec: ModelSpec

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        """The SLA of a file says whose it is; here the resource does."""
        try:
            name, spec = data["metadata"]["name"], data["spec"]
            sla = spec["sla"]
            told = sla.get("model", name)
        except (TypeError, KeyError, AttributeError):  # what is missing is said by the fields' own checks
            return data
        if told != name:
            raise ValueError(f"spec.sla.model: it is {told!r}, but the resource is called {name!r}; leave it out")
        return {**data, "spec": {**spec, "sla": {**sla, "model": name}}}
