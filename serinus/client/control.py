"""The controller's half of the client: models, versions, rollouts, evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from serinus.client.archive import Progress, archive_bytes, stream_archive
from serinus.client.connection import RETRIES_S, Connection
from serinus.client.views import HealthView, ModelView, VersionView, WeightsView
from serinus.client.who import who
from serinus.errors import NotFound, Unavailable
from serinus.evidence import Evidence
from serinus.package import read_manifest
from serinus.rollouts import ENDS, Command, Phase, Plan, RolloutView
from serinus.sla import Sla

__all__ = ["Control"]

PAGE = 500


class Control:
    """What the controller offers. Reading is tried again when a connection breaks; writing is not."""

    @cached_property
    def api(self) -> Connection:
        """The connection to the controller."""
        raise NotImplementedError

    def _get(self, path: str, **query: Any) -> Any:
        asked = {name: value for name, value in query.items() if value is not None}
        return self.api.call("GET", path, waits_s=RETRIES_S[:4], params=asked)

    def apply(self, sla: Sla, pool: str = "default") -> ModelView:
        """Create a model with this SLA, or give it this SLA from now on."""
        body = {"sla": sla.model_dump(mode="json"), "pool": pool}
        self.api.call("PUT", f"/v1/models/{sla.model}", body)
        return self.model(sla.model)

    def models(self) -> list[ModelView]:
        return [ModelView.model_validate(each) for each in _rows(self._get("/v1/models"), "models")]

    def model(self, model: str) -> ModelView:
        return ModelView.model_validate(self._get(f"/v1/models/{model}"))

    def health(self, model: str) -> HealthView:
        """The alerts of its stable version, of its inputs and of its logs: those that last come first."""
        return HealthView.model_validate(self._get(f"/v1/models/{model}/health"))

    def push(self, model: str, folder: Path | str, progress: Progress | None = None) -> VersionView:
        """Register the package in `folder` as a version. The same package again is the same version.

        Raises InvalidPackage before anything is sent when a file is missing or altered."""
        folder = Path(folder)
        manifest = read_manifest(folder)
        length = archive_bytes(folder, manifest)
        answer = self.api.call(
            "POST",
            f"/v1/models/{model}/versions",
            content=stream_archive(folder, manifest, progress),
            headers={"content-type": "application/x-tar", "content-length": str(length)},
            timeout=600.0,
        )
        return VersionView.model_validate(answer)

    def versions(self, model: str) -> list[VersionView]:
        return [
            VersionView.model_validate(each) for each in _rows(self._get(f"/v1/models/{model}/versions"), "versions")
        ]

    def promote(self, model: str, version: int, reason: str = "", initial: bool = False) -> None:
        """Make a version stable at once. `initial`: the model has no stable yet; else it overrides, with a reason."""
        body = {"version": version, "reason": reason, "initial": initial, "actor": who()}
        self.api.call("POST", f"/v1/models/{model}/promote", body)

    def weights(self, model: str, weights: Mapping[str, float] | None = None, reason: str = "") -> WeightsView:
        """The ranking weights of a model, after setting all of them unless `weights` is None; {}: every task once.

        Replicas rank by new ones within a second. Raises BadInput for a task that no version has."""
        path = f"/v1/models/{model}/weights"
        if weights is None:
            return WeightsView.model_validate(self._get(path))
        body = {"weights": dict(weights), "reason": reason, "actor": who()}
        return WeightsView.model_validate(self.api.call("PUT", path, body))

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

    def rollout_start(self, model: str, version: int, plan: Plan | None = None, reason: str = "") -> RolloutView:
        """Give a version shadow and canary traffic. `plan`: None means that of the SLA."""
        body = {"version": version, "plan": plan and plan.model_dump(mode="json"), "reason": reason, "actor": who()}
        return RolloutView.model_validate(self.api.call("POST", f"/v1/models/{model}/rollouts", body))

    def rollouts(self, model: str | None = None) -> list[RolloutView]:
        return [RolloutView.model_validate(each) for each in _rows(self._get("/v1/rollouts", model=model), "rollouts")]

    def rollout(self, rollout: str) -> RolloutView:
        return RolloutView.model_validate(self._get(f"/v1/rollouts/{rollout}"))

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
            time.sleep(0.02)
        return view

    def command(self, rollout: str, command: Command, reason: str = "", actor: str | None = None) -> RolloutView:
        """Pause, resume, approve, abort, promote or roll back. `actor`: None means who runs this."""
        body = {"command": command, "reason": reason, "actor": actor or who()}
        return RolloutView.model_validate(self.api.call("POST", f"/v1/rollouts/{rollout}/commands", body))

    def evidence(self, rollout: str, after_ms: int | None = None) -> list[Evidence]:
        """Every look at a rollout, in the order of their ticks. `after_ms`: only later ticks (event time)."""
        return list(self.evidence_pages(rollout, after_ms))

    def evidence_pages(self, rollout: str, after_ms: int | None = None) -> Iterator[Evidence]:
        """The same, one after the other: a long rollout has more looks than one wants to keep."""
        while True:
            found = self._get(f"/v1/rollouts/{rollout}/evidence", after_ms=after_ms, limit=PAGE)["evidence"]
            looks = [Evidence.model_validate(each) for each in found]
            yield from looks
            if len(looks) < PAGE:
                return
            after_ms = looks[-1].tick_ms

    def evidence_latest(self, rollout: str) -> Evidence | None:
        """The newest look, or None when there was none yet."""
        try:
            found = self._get(f"/v1/rollouts/{rollout}/evidence/latest")
        except NotFound:
            return None
        return found and Evidence.model_validate(found)

    def status(self) -> dict[str, Any]:
        """Models, active rollouts, replicas and monitors, as the controller knows them."""
        status: dict[str, Any] = self._get("/v1/status")
        return status


def _rows(answer: Any, name: str) -> list[Any]:
    rows: list[Any] = answer[name] if isinstance(answer, dict) else answer
    return rows
