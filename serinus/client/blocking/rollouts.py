# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""Rollouts: started, steered, watched; and their evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from serinus.client.answers import known
from serinus.client.blocking.models import Models
from serinus.client.pauses import sleep
from serinus.client.who import who
from serinus.errors import NotFound, Unavailable
from serinus.evidence import Evidence
from serinus.rollouts import ENDS, Command, Phase, Plan, RolloutView

__all__ = ["Rollouts"]

PAGE = 500


class Rollouts(Models):
    def rollout_start(
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
        return known(RolloutView, self.api.write("POST", f"/v1/models/{model}/rollouts", body))

    def rollouts(
        self,
        model: str | None = None,
        active: bool | None = None,
        limit: int | None = None,
        *,
        key: str | None = None,
    ) -> list[RolloutView]:
        """The newest, the newest first. `key`: the one that was begun by it."""
        found = self.api.page("/v1/rollouts", model=model, active=active, limit=limit, key=key)
        return [known(RolloutView, each) for each in found]

    def rollout_pages(self, model: str | None = None, active: bool | None = None) -> Iterator[RolloutView]:
        """All of them, one after the other."""
        for each in self.api.pages("/v1/rollouts", model=model, active=active):
            yield known(RolloutView, each)

    def rollout(self, rollout: str) -> RolloutView:
        return known(RolloutView, self.api.read(f"/v1/rollouts/{rollout}"))

    def rollout_tagged(self, rollout: str) -> tuple[RolloutView, str]:
        """(A rollout, its ETag): a command that names it is refused when the rollout has moved since."""
        found, etag = self.api.read_tagged(f"/v1/rollouts/{rollout}")
        return known(RolloutView, found), etag

    def command(
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
        return known(RolloutView, self.api.write("POST", path, body, if_match=if_match))

    def rollback(self, model: str, reason: str) -> RolloutView | None:
        """End the active rollout in favour of its baseline; without one make the previous stable version stable again.

        Raises NotFound when there is neither."""
        view = self.model(model)
        if view.rollout is not None:
            return self.command(view.rollout, "rollback", reason)
        if "previous" not in view.aliases:
            raise NotFound(f"{model} has no active rollout and no previous version to go back to")
        self.promote(model, view.aliases["previous"], reason)
        return None

    def transitions(self) -> Any:
        """The table of phases: from which to which, by whose word."""
        return self.api.read("/v1/transitions")

    def evidence_wait(self, rollout: str, event_ms: int, timeout_s: float = 60.0) -> RolloutView:
        """The rollout once its evidence reaches `event_ms` (Unix ms), or once it has ended: for replays, which would
        else run ahead of the decisions about them. Raises Unavailable when no evidence comes for `timeout_s`."""
        until, seen_ms = time.monotonic() + timeout_s, -1
        while (view := self.rollout(rollout)).phase not in ENDS:
            if view.phase == Phase.PREFLIGHT:  # which has a deadline of its own
                until = time.monotonic() + timeout_s
            if view.started_event_ms is not None:
                look = self.evidence_latest(rollout)
                at_ms = max(view.started_event_ms, look.tick_ms if look else 0)
                if at_ms >= event_ms:
                    break
                if at_ms > seen_ms:
                    until, seen_ms = time.monotonic() + timeout_s, at_ms
            if time.monotonic() > until:
                raise Unavailable(
                    f"rollout {rollout} has had no evidence for {timeout_s:g} s; it waits for {view.waiting_for}"
                )
            sleep(0.02)
        return view

    def evidence(self, rollout: str, after_ms: int | None = None) -> list[Evidence]:
        """Every look at a rollout, in the order of their ticks. `after_ms`: only later ticks (event time)."""
        return list(self.evidence_pages(rollout, after_ms))

    def evidence_pages(self, rollout: str, after_ms: int | None = None) -> Iterator[Evidence]:
        """The same, one after the other: a long rollout has more looks than one wants to keep."""
        while True:
            found = self.api.read(f"/v1/rollouts/{rollout}/evidence", after_ms=after_ms, limit=PAGE)
            looks = [Evidence.model_validate(each) for each in found["evidence"]]
            yield from looks
            if len(looks) < PAGE:
                return
            after_ms = looks[-1].tick_ms

    def evidence_latest(self, rollout: str) -> Evidence | None:
        """The newest look, or None when there was none yet."""
        try:
            found = self.api.read(f"/v1/rollouts/{rollout}/evidence/latest")
        except NotFound:
            return None
        return found and Evidence.model_validate(found)
