"""Rollouts: started, steered, watched; and their evidence."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from serinus.client.aio.models import Models
from serinus.client.answers import known
from serinus.client.pauses import asleep
from serinus.client.who import who
from serinus.errors import NotFound, Unavailable
from serinus.evidence import Evidence
from serinus.rollouts import ENDS, Command, Phase, Plan, RolloutView

__all__ = ["Rollouts"]

PAGE = 500


class Rollouts(Models):
    async def rollout_start(
        self,
        model: str,
        version: int,
        plan: Plan | None = None,
        reason: str = "",
        *,
        queue: bool = False,
        skip_preflight: bool = False,
        key: str | None = None,
    ) -> RolloutView:
        """Give a version shadow and canary traffic. `plan`: None means that of the SLA.

        `queue`: wait behind the active rollout of the model, which is else an error. `reason`: needed for a version
        that was rolled back before, and for `skip_preflight`, which only operators may.

        `key`: the rollout that was begun by it, if there is one, is given instead of another."""
        body: dict[str, Any] = {"version": version, "reason": reason, "actor": who()}
        if key is not None:
            body["key"] = key
        if plan is not None:
            body["plan"] = plan.model_dump(mode="json")
        if queue:
            body["queue"] = True
        if skip_preflight:
            body["skip_preflight"] = True
        return known(RolloutView, await self.api.write("POST", f"/v1/models/{model}/rollouts", body))

    async def rollouts(
        self,
        model: str | None = None,
        active: bool | None = None,
        limit: int | None = None,
        *,
        key: str | None = None,
    ) -> list[RolloutView]:
        """The newest, the newest first. `key`: the one that was begun by it."""
        found = await self.api.page("/v1/rollouts", model=model, active=active, limit=limit, key=key)
        return [known(RolloutView, each) for each in found]

    async def rollout_pages(self, model: str | None = None, active: bool | None = None) -> AsyncIterator[RolloutView]:
        """All of them, one after the other."""
        async for each in self.api.pages("/v1/rollouts", model=model, active=active):
            yield known(RolloutView, each)

    async def rollout(self, rollout: str) -> RolloutView:
        return known(RolloutView, await self.api.read(f"/v1/rollouts/{rollout}"))

    async def rollout_tagged(self, rollout: str) -> tuple[RolloutView, str]:
        """(A rollout, its ETag): a command that names it is refused when the rollout has moved since."""
        found, etag = await self.api.read_tagged(f"/v1/rollouts/{rollout}")
        return known(RolloutView, found), etag

    async def command(
        self,
        rollout: str,
        command: Command,
        reason: str = "",
        actor: str | None = None,
        if_match: str | None = None,
    ) -> RolloutView:
        """Pause, resume, approve, skip, abort, promote or roll back. `actor`: None means who runs this."""
        body = {"command": command, "reason": reason, "actor": actor or who()}
        path = f"/v1/rollouts/{rollout}/commands"
        return known(RolloutView, await self.api.write("POST", path, body, if_match=if_match))

    async def rollback(self, model: str, reason: str) -> RolloutView | None:
        """End the active rollout in favour of its baseline; without one make the previous stable version stable again.

        Raises NotFound when there is neither."""
        view = await self.model(model)
        if view.rollout is not None:
            return await self.command(view.rollout, "rollback", reason)
        if "previous" not in view.aliases:
            raise NotFound(f"{model} has no active rollout and no previous version to go back to")
        await self.promote(model, view.aliases["previous"], reason)
        return None

    async def transitions(self) -> Any:
        """The table of phases: from which to which, by whose word."""
        return await self.api.read("/v1/transitions")

    async def evidence_wait(self, rollout: str, event_ms: int, timeout_s: float = 60.0) -> RolloutView:
        """The rollout once its evidence reaches `event_ms` (Unix ms), or once it has ended: for replays, which would
        else run ahead of the decisions about them. Raises Unavailable when no evidence comes for `timeout_s`."""
        until, seen_ms = time.monotonic() + timeout_s, -1
        while (view := await self.rollout(rollout)).phase not in ENDS:
            if view.phase == Phase.PREFLIGHT:  # which has a deadline of its own
                until = time.monotonic() + timeout_s
            if view.started_event_ms is not None:
                look = await self.evidence_latest(rollout)
                at_ms = max(view.started_event_ms, look.tick_ms if look else 0)
                if at_ms >= event_ms:
                    break
                if at_ms > seen_ms:
                    until, seen_ms = time.monotonic() + timeout_s, at_ms
            if time.monotonic() > until:
                raise Unavailable(
                    f"rollout {rollout} has had no evidence for {timeout_s:g} s; it waits for {view.waiting_for}"
                )
            await asleep(0.02)
        return view

    async def evidence(self, rollout: str, after_ms: int | None = None) -> list[Evidence]:
        """Every look at a rollout, in the order of their ticks. `after_ms`: only later ticks (event time)."""
        return [look async for look in self.evidence_pages(rollout, after_ms)]

    async def evidence_pages(self, rollout: str, after_ms: int | None = None) -> AsyncIterator[Evidence]:
        """The same, one after the other: a long rollout has more looks than one wants to keep."""
        while True:
            found = await self.api.read(f"/v1/rollouts/{rollout}/evidence", after_ms=after_ms, limit=PAGE)
            looks = [Evidence.model_validate(each) for each in found["evidence"]]
            for look in looks:
                yield look
            if len(looks) < PAGE:
                return
            after_ms = looks[-1].tick_ms

    async def evidence_latest(self, rollout: str) -> Evidence | None:
        """The newest look, or None when there was none yet."""
        try:
            found = await self.api.read(f"/v1/rollouts/{rollout}/evidence/latest")
        except NotFound:
            return None
        return found and Evidence.model_validate(found)
