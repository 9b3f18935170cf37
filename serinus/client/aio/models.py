"""Models: SLA, aliases, ranking weights, health, and what is stable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serinus.client.aio.base import Base
from serinus.client.cards import AliasMove, SlaLine, SlaView
from serinus.client.views import HealthView, ModelView, WeightsView
from serinus.client.who import who
from serinus.sla import Sla

__all__ = ["Models"]


class Models(Base):
    """A write that names an ETag (`if_match`) raises Changed when somebody else was faster."""

    async def apply(
        self,
        sla: Sla,
        pool: str = "default",
        *,
        signed_by: Sequence[str] | None = None,
        if_match: str | None = None,
    ) -> ModelView:
        """Create a model with this SLA, or give it this SLA from now on.

        `signed_by`: names of keys, one of which must have signed every version; None leaves that as it is."""
        body: dict[str, Any] = {"sla": sla.model_dump(mode="json"), "pool": pool}
        if signed_by is not None:
            body["signed_by"] = list(signed_by)
        await self.api.write("PUT", f"/v1/models/{sla.model}", body, if_match=if_match)
        return await self.model(sla.model)

    async def models(self) -> list[ModelView]:
        return [ModelView.model_validate(each) async for each in self.api.pages("/v1/models")]

    async def model(self, model: str) -> ModelView:
        found, etag = await self.api.read_tagged(f"/v1/models/{model}")
        return ModelView.model_validate({**found, "etag": etag})

    async def model_delete(
        self, model: str, reason: str = "", if_match: str | None = None, *, retire: bool = False
    ) -> None:
        """Delete a model and its versions. Refused while it serves, unless it is to `retire`: replicas drop it."""
        asked = _given(reason=reason, retire="true" if retire else "")
        await self.api.write("DELETE", f"/v1/models/{model}", params=asked, if_match=if_match)

    async def health(self, model: str) -> HealthView:
        """The alerts of its stable version, of its inputs and of its logs: those that last come first."""
        return HealthView.model_validate(await self.api.read(f"/v1/models/{model}/health"))

    async def sla(self, model: str) -> SlaView:
        """The SLA in force."""
        found, etag = await self.api.read_tagged(f"/v1/models/{model}/sla")
        told = found if "sla" in found else {"sla": found}
        return SlaView.model_validate({**told, "etag": etag})

    async def sla_history(self, model: str) -> list[SlaLine]:
        """Every SLA that it had, the newest first."""
        return [SlaLine.model_validate(each) async for each in self.api.pages(f"/v1/models/{model}/sla/history")]

    async def aliases(self, model: str) -> dict[str, int]:
        """Alias -> the version that it names now."""
        found = await self.api.read(f"/v1/models/{model}/aliases")
        return {str(name): int(version) for name, version in found.get("aliases", found).items()}

    async def alias_history(self, model: str) -> list[AliasMove]:
        """Who moved which alias, when and why, the newest first."""
        return [AliasMove.model_validate(each) async for each in self.api.pages(f"/v1/models/{model}/aliases/history")]

    async def alias_set(
        self, model: str, alias: str, version: int, reason: str = "", if_match: str | None = None
    ) -> None:
        """Let an alias of one's own name a version. `stable` and `previous` are moved by promotions alone."""
        body = {"version": version, "reason": reason}
        await self.api.write("PUT", f"/v1/models/{model}/aliases/{alias}", body, if_match=if_match)

    async def alias_delete(self, model: str, alias: str, reason: str = "") -> None:
        await self.api.write("DELETE", f"/v1/models/{model}/aliases/{alias}", params=_given(reason=reason))

    async def promote(self, model: str, version: int, reason: str = "", initial: bool = False) -> None:
        """Make a version stable at once. `initial`: the model has no stable yet; else it overrides, with a reason."""
        body = {"version": version, "reason": reason, "initial": initial, "actor": who()}
        await self.api.write("POST", f"/v1/models/{model}/promote", body)

    async def weights(
        self,
        model: str,
        weights: Mapping[str, float] | None = None,
        reason: str = "",
        if_match: str | None = None,
    ) -> WeightsView:
        """The ranking weights of a model, after setting all of them unless `weights` is None; {}: every task once.

        Replicas rank by new ones within a second. Raises BadInput for a task that no version has."""
        path = f"/v1/models/{model}/weights"
        if weights is None:
            found, etag = await self.api.read_tagged(path)
            return WeightsView.model_validate({**found, "etag": etag})
        body = {"weights": dict(weights), "reason": reason, "actor": who()}
        return WeightsView.model_validate(await self.api.write("PUT", path, body, if_match=if_match))


def _given(**query: str) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}
