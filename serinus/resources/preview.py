"""What applying a resource would do, in words; nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence

from serinus.client.aio.client import AsyncClient
from serinus.client.views import ModelView
from serinus.errors import NotFound
from serinus.resources.manifests import AnyResource
from serinus.resources.model import MultiTaskModel
from serinus.resources.package import PackageSource
from serinus.resources.pool import ServingPool
from serinus.resources.rollout import Rollout
from serinus.resources.rollouts import key_of
from serinus.sla import Sla

__all__ = ["preview", "preview_sla"]


async def preview(client: AsyncClient, resource: AnyResource) -> tuple[str, ...]:
    """A line for each thing that would be done; (): nothing would. Raises SerinusError."""
    if isinstance(resource, ServingPool):
        return ()
    if isinstance(resource, Rollout):
        return await _rollout(client, resource)
    return await _model(client, resource)


async def preview_sla(
    client: AsyncClient, sla: Sla, pool: str, signed_by: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The same of an SLA by itself."""
    return _asked(await _known(client, sla.model), sla, pool, signed_by)


async def _known(client: AsyncClient, model: str) -> ModelView | None:
    try:
        return await client.model(model)
    except NotFound:
        return None


def _asked(view: ModelView | None, sla: Sla, pool: str, signed_by: Sequence[str] | None) -> tuple[str, ...]:
    cells = f"{len(sla.tasks)} tasks, {len(sla.cells())} cells are guarded"
    if view is None:
        return (f"create the model in pool {pool}: {cells}",)
    lines = []
    if view.sla is None or view.sla != sla:
        was = {} if view.sla is None else view.sla.model_dump()
        fields = [name for name, value in sla.model_dump().items() if was.get(name) != value]
        lines.append(f"change the SLA ({', '.join(fields)}): {cells}")
    if view.pool != pool:
        lines.append(f"move it from pool {view.pool} to {pool}")
    if signed_by is not None and tuple(signed_by) != view.signed_by:
        lines.append(f"want signatures of {', '.join(signed_by) or 'nobody'}")
    return tuple(lines)


async def _model(client: AsyncClient, model: MultiTaskModel) -> tuple[str, ...]:
    spec, name = model.spec, model.metadata.name
    view = await _known(client, name)
    lines = list(_asked(view, spec.sla, spec.pool, spec.signed_by))
    if spec.package is not None and (view is None or "stable" not in view.aliases):
        lines.append(f"make {_package(spec.package)} its first stable version")
    if spec.weights is not None and (view is None or (await client.weights(name)).weights != spec.weights):
        lines.append("set the weights of rankings")
    return tuple(lines)


async def _rollout(client: AsyncClient, rollout: Rollout) -> tuple[str, ...]:
    if await client.rollouts(key=key_of(rollout), limit=1):
        return ()
    spec = rollout.spec
    what = f"version {spec.version}" if spec.package is None else _package(spec.package)
    view = await _known(client, spec.model)
    going = None if view is None else view.rollout
    if going is not None and not spec.queue:
        return (f"nothing, for rollout {going} goes on; wait for its end, or say `queue: true`",)
    behind = f", behind rollout {going}" if going is not None else ""
    return (f"begin a rollout of {what}{behind}",)


def _package(source: PackageSource) -> str:
    return f"the package of {source.uri}" if source.uri else f"the version of digest {(source.digest or '')[:12]}"
