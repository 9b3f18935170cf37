"""The version that a resource means: registered before, or fetched now."""

from __future__ import annotations

from serinus.client.aio.client import AsyncClient
from serinus.errors import NotFound
from serinus.resources.package import PackageSource

__all__ = ["version_from"]


async def version_from(client: AsyncClient, model: str, package: PackageSource) -> int:
    """Its number. The same package is the same version, however often this is asked.

    Raises NotFound where nobody has pushed that digest; else what fetching raises."""
    if package.digest is not None and (known := await client.versions(model, digest=package.digest)):
        return known[0].version
    if package.uri is None:
        raise NotFound(
            f"no version of {model} has the digest {(package.digest or '')[:12]}",
            f"`serinus push {model} FOLDER`, or name the package's uri",
        )
    return (await client.fetch(model, package.uri, package.digest)).version
