"""The models whose stable version is looked after: which are, how far each is, and the alerts of all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monitors.health import Health
from monitors.log_alerts import stuck_alert
from serinus.evidence import HealthAlert, Watched

__all__ = ["Watch"]

_log = logging.getLogger(__name__)

HOURS_PER_TURN = 8
"""Of one model, so that rollouts do not wait for its past."""
SET_ASIDE_TURNS = 60


@dataclass(slots=True)
class Watch:
    """`models`: model -> its health; `aside`: models that could not be looked at, and for how many turns they rest;
    `stuck`: what was raised of them before, and why; `unsaved`: models with hours that no file has."""

    log: Path
    state: Path
    models: dict[str, Health] = field(default_factory=dict)
    aside: dict[str, int] = field(default_factory=dict)
    stuck: dict[str, tuple[HealthAlert, ...]] = field(default_factory=dict)
    unsaved: set[str] = field(default_factory=set)
    _wanted: dict[str, Watched] = field(default_factory=dict)

    def take_on(self, watched: Sequence[Watched]) -> None:
        """What is to be looked after from now on. Another stable version, package or SLA begins anew."""
        wanted = {each.model: each for each in watched if each.sla is not None and each.stable is not None}
        for gone in [model for model, health in self.models.items() if wanted.get(model) != health.watched]:
            del self.models[gone]
            self.unsaved.discard(gone)
        for model in self._wanted.keys() - wanted.keys():
            self._path(model).unlink(missing_ok=True)
            self.stuck.pop(model, None)
        self._wanted = wanted

    def look(self, watermarks_ms: Mapping[str, int], most: int = HOURS_PER_TURN) -> int:
        """The hours that are due, at most `most` of each model. Returns how many were looked at."""
        looks = 0
        self.aside = {model: left - 1 for model, left in self.aside.items() if left > 1}
        for model, watched in self._wanted.items():
            watermark_ms = watermarks_ms.get(model)
            if watermark_ms is None or model in self.aside:
                continue
            try:
                if model not in self.models:
                    self.models[model] = self._begin(watched, watermark_ms)
                health, done = self.models[model], 0
                while done < most and health.look(watermark_ms):
                    done += 1
            except Exception as error:  # whatever is wrong with one model, the others want to be looked after
                _log.exception("the health of %s cannot be looked at", model)
                self.aside[model] = SET_ASIDE_TURNS
                self._is_stuck(model, error)
                continue
            self.stuck.pop(model, None)
            looks += done
            if done:
                self.unsaved.add(model)
        return looks

    def alerts(self) -> tuple[HealthAlert, ...] | None:
        """All that are raised now; None as long as nobody has tried to look at one of the models."""
        if not self._wanted or self._wanted.keys() - self.models.keys() - self.stuck.keys():
            return None
        told = {model: tuple(health.raised.values()) for model, health in self.models.items()} | self.stuck
        return tuple(alert for _, alerts in sorted(told.items()) for alert in alerts)

    def _is_stuck(self, model: str, error: Exception) -> None:
        """What was raised before stays raised: nobody can tell that it ended."""
        gone, told = self.models.pop(model, None), stuck_alert(model, "the stable version", error)
        before = (gone.raised.values() if gone is not None else ()) or self.stuck.get(model, ())
        self.stuck[model] = (*(alert for alert in before if alert.key != told.key), told)

    def save(self) -> None:
        """Write what is not on disk yet; what cannot be written is computed again after a restart."""
        for model in sorted(self.unsaved):
            try:
                self.models[model].save(self._path(model))
            except OSError as error:
                _log.error("the health of %s cannot be written: %s", model, error)
        self.unsaved = set()

    def _begin(self, watched: Watched, watermark_ms: int) -> Health:
        health = Health.start(watched, self.log, watermark_ms)
        path = self._path(watched.model)
        if path.exists():
            try:
                health.load(path)
            except (OSError, KeyError, ValueError) as error:
                _log.warning("%s; the health of %s begins anew", error, watched.model)
                health = Health.start(watched, self.log, watermark_ms)
        return health

    def _path(self, model: str) -> Path:
        return self.state / "health" / f"{model}.state"
