"""Where a version comes from: a package that was pushed before, or one that the controller is to fetch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from serinus.tasks import Word

__all__ = ["PackageSource"]


class PackageSource(Word):
    """`digest`: SHA-256 of the package's manifest, as `serinus push` tells it. `uri`: folder (fsspec) of the package.

    By the digest alone: the version that was pushed with it. By the URI alone: whatever lies there, once."""

    uri: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Self:
        if self.uri is None and self.digest is None:
            raise ValueError("package needs a uri, a digest, or both")
        return self
