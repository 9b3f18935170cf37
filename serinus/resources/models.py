"""A MultiTaskModel, brought about: safe to repeat, and to break off at any line."""

from __future__ import annotations

from serinus.client.aio.client import AsyncClient
from serinus.client.views import ModelView
from serinus.errors import NotFound
from serinus.resources.metadata import RETIRE, Metadata
from serinus.resources.model import MultiTaskModel
from serinus.resources.outcome import Outcome, Told, condition
from serinus.resources.versions import version_from

__all__ = ["apply_model", "delete_model", "look_at_model"]


async def apply_model(client: AsyncClient, model: MultiTaskModel) -> Outcome:
    """Create the model or change it to what is asked, and make its first version stable. Raises SerinusError."""
    spec, name, told = model.spec, model.metadata.name, list[Told]()
    view = await _known(client, name)
    if view is None or not _as_asked(view, model):
        was = view
        view = await client.apply(spec.sla, spec.pool, signed_by=spec.signed_by)
        cells, guarded = len(spec.sla.cells()), len(spec.sla.tasks)
        told.append(Told("Created" if was is None else "Changed", f"{guarded} tasks, {cells} cells are guarded"))
    if spec.package is not None and "stable" not in view.aliases:
        version = await version_from(client, name, spec.package)
        await client.promote(name, version, "the first version", initial=True)
        told.append(Told("Promoted", f"version {version} is stable, the first one"))
    if spec.weights is not None and (await client.weights(name)).weights != spec.weights:
        await client.weights(name, spec.weights, "as its resource says")
        told.append(Told("WeightsSet", "rankings go by the weights of the resource"))
    return await look_at_model(client, name, tuple(told))


async def look_at_model(client: AsyncClient, name: str, told: tuple[Told, ...] = ()) -> Outcome:
    """How it is, changing nothing. Raises SerinusError."""
    view, health = await client.model(name), await client.health(name)
    stable, previous = view.aliases.get("stable"), view.aliases.get("previous")
    digest = (await client.version(name, stable)).digest if stable is not None else None
    alerts = [each.alert.text for each in health.alerts if each.resolved_at is None]
    status = {
        "stable": stable,
        "previous": previous,
        "digest": digest,
        "rollout": view.rollout,
        "alerts": len(alerts),
    }
    ready = (
        condition("Ready", True, "Serves", f"version {stable} is stable in pool {view.pool}")
        if stable is not None
        else condition("Ready", False, "NoVersion", "no version is stable; name a package, or promote one")
    )
    going = view.rollout is not None
    conditions = (
        ready,
        condition("Progressing", going, "RollsOut" if going else "Settled", view.rollout or ""),
        condition("Degraded", bool(alerts), "Alerts" if alerts else "Well", "; ".join(alerts)),
    )
    return Outcome(status, conditions, told)


async def delete_model(client: AsyncClient, metadata: Metadata) -> Outcome:
    """Delete it in the controller. One that serves only by the annotation that says so. Raises SerinusError."""
    name = metadata.name
    view = await _known(client, name)
    if view is None:
        return Outcome({}, (), gone=True)
    stable, retire = view.aliases.get("stable"), metadata.annotations.get(RETIRE) == "true"
    if stable is not None and not retire:
        text = f"version {stable} of {name} serves; to delete it all the same annotate it: {RETIRE}=true"
        kept = (condition("Ready", True, "Serves", text), condition("Degraded", True, "DeletionRefused", text))
        return Outcome({"stable": stable}, kept, (Told("DeletionRefused", text, "Warning"),))
    if view.rollout is not None:
        await client.command(view.rollout, "abort", "the model is being deleted")
    await client.model_delete(name, "its resource was deleted", retire=retire)
    return Outcome({}, (), (Told("Deleted", f"{name} and its versions"),), gone=True)


async def _known(client: AsyncClient, name: str) -> ModelView | None:
    try:
        return await client.model(name)
    except NotFound:
        return None


def _as_asked(view: ModelView, model: MultiTaskModel) -> bool:
    spec = model.spec
    signed = spec.signed_by is None or view.signed_by == spec.signed_by
    return view.sla == spec.sla and view.pool == spec.pool and signed
