"""What a monitor counts for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from serinus.evidence import Evidence
from serinus.exposition import Page, Scraped, counter, histogram

if TYPE_CHECKING:
    from monitors.follower import Follower
    from monitors.watermark import Watermark

__all__ = ["Counting"]

READ = ("labels_used", "rows_unlabelled", "rows_without_condition")
LATE = "labels_late:"
Known = tuple[Mapping[str, "Watermark"], Mapping[str, "Follower"]]


class Counting:
    """One registry a monitor. `known`: model -> watermark, rollout -> follower, as they are at a scrape."""

    def __init__(self, known: Callable[[], Known]) -> None:
        self.registry = CollectorRegistry()
        self.looks = counter("serinus_monitor_looks_total", self.registry)
        self.took = histogram("serinus_monitor_look_duration_seconds", self.registry)
        self.rows = counter("serinus_monitor_rows_total", self.registry)
        self.late = counter("serinus_monitor_late_labels_total", self.registry)
        self.errors = counter("serinus_monitor_errors_total", self.registry)
        self._known = known
        self.registry.register(Scraped(self._fill))

    def looked(self, look: Evidence, seconds: float) -> None:
        self.looks.labels(look.model).inc()
        self.took.labels(look.model).observe(seconds)
        self.rows.labels(look.model).inc(sum(look.counts.get(name, 0) for name in READ))
        for name, count in look.counts.items():
            if name.startswith(LATE):
                self.late.labels(look.model, name.removeprefix(LATE)).inc(max(0, count))

    def failed(self, model: str) -> None:
        self.errors.labels(model).inc()

    def _fill(self, page: Page) -> None:
        watermarks, followers = self._known()
        for model, mark in list(watermarks.items()):
            if mark.value_ms is not None:
                held = mark.held
                for task in list(mark.heartbeats_s):
                    at = min(held.get(task, mark.value_ms), mark.value_ms)
                    page.put("serinus_labels_complete_timestamp_seconds", at / 1000, model, task)
        for follower in list(followers.values()):
            model = follower.item.model
            if (mark_ms := watermarks[model].value_ms) is not None:
                step_ms = follower.item.sla.tick_s * 1000
                behind = max(0, mark_ms // step_ms * step_ms - follower.at_ms) / 1000
                page.put("serinus_monitor_lag_seconds", behind, model)
