"""What every resource has: its name, and the conditions that say how it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serinus.tasks import Word

__all__ = ["API_VERSION", "FINALIZER", "GROUP", "RETIRE", "Condition", "ConditionType", "Metadata", "Resource"]

GROUP, VERSION = "serinus.dev", "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/cleanup"
RETIRE = f"{GROUP}/retire"
"""An annotation; "true" lets a model be deleted although it serves."""
ResourceName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A name that is one both in Kubernetes and in the registry."""
ConditionType = Literal["Ready", "Progressing", "Degraded"]


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that matters here; what else there is stays unread. `uid`: "" outside."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    name: ResourceName
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = Field(default="", alias="resourceVersion")
    deletion_timestamp: str | None = Field(default=None, alias="deletionTimestamp")
    finalizers: tuple[str, ...] = ()
    annotations: dict[str, str] = {}

    @property
    def deleting(self) -> bool:
        return self.deletion_timestamp is not None


class Condition(Word):
    """One side of how a resource is. `reason`: a word in CamelCase for programs; `message`: for people."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{0,99}$")]
    message: Annotated[str, Field(max_length=4_000)] = ""


class Resource(Word):
    """Base of the three. `status` is what the operator wrote; from a file it is not read."""

    apiVersion: Literal["serinus.dev/v1alpha1"]  # noqa: N815 (Kubernetes' own word)
    metadata: Metadata
    status: dict[str, Any] = {}
