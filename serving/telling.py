"""How the processes of a pool tell what they counted, and what of it Prometheus is shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from serinus.errors import Unavailable
from serinus.exposition import Page, Port, Scraped
from serving.applied import Applied
from serving.process import process
from serving.settings import Settings
from serving.tally import Tally
from serving.tally_files import EVERY_S, Sums, leave

__all__ = ["Samples", "adopt_heads", "front_samples", "keep_leaving", "show", "shown"]

log = logging.getLogger(__name__)
Samples = dict[str, Any]
LOGS = ("predictions", "inputs")
SHADOW = {"shadow_dropped": "dropped", "shadow_failed": "failed", "shadow_limited": "limited"}
"""Kinds of losses of a mark, as results of copies."""


async def keep_leaving(settings: Settings, writer: str, samples: Callable[[], Samples]) -> None:
    """Leave this process's counts in its file once a second, for ever; at the end once more. Nothing without a port."""
    if not settings.metrics_port:
        return
    port: Port | None = None
    try:
        while True:
            if settings.metrics_here and port is None:
                port = show(settings)
            await asyncio.to_thread(leave, settings.metrics, writer, samples())
            await asyncio.sleep(EVERY_S)
    finally:
        leave(settings.metrics, writer, samples())
        if port is not None:
            port.close()


def show(settings: Settings) -> Port | None:
    """The port where Prometheus may ask, for all processes of the folder. None while another process has it: a replica
    that follows another in one pod. Raises BadInput where strangers could ask without a token."""
    registry = CollectorRegistry()
    registry.register(Scraped(shown(settings.metrics)))
    try:
        return Port(registry, settings.metrics_host, settings.metrics_port, settings.metrics_token_file)
    except Unavailable as error:
        log.info("metrics: %s", error.detail)
        return None


def adopt_heads(tally: Tally, models: Iterable[Applied], arm: str) -> None:
    """Show the times of all heads that are loaded, and why they gave nothing. `arm`: what this process answers."""
    for applied in models:
        for version in applied.table.versions():
            engine = applied.engines.get(applied.table.packages[version].digest)
            for task, head in engine.heads.items() if engine is not None else ():
                tally.adopt("serinus_head_duration_seconds", (applied.table.model, task), head.times)
                tally.adopt_counts("serinus_head_failures_total", (applied.table.model, task, arm), head.fallbacks)


def front_samples(
    tally: Tally, waiting: Mapping[str, int], lost: Mapping[str, Mapping[str, int]], epochs: Mapping[str, int]
) -> Samples:
    """What a front door counted. `lost`: model -> kind of loss -> rows; `waiting`: gauges by name."""
    samples = tally.samples()
    counts = samples["counts"]
    for model, kinds in lost.items():
        counts += [["serinus_lost_rows_total", [model, kind], kinds.get(kind, 0)] for kind in LOGS]
        counts += [["serinus_shadow_rows_total", [model, word], kinds.get(kind, 0)] for kind, word in SHADOW.items()]
    cache = process().cache
    counts += [["serinus_encoder_cache_lookups_total", ["hit"], cache.hits]]
    counts += [["serinus_encoder_cache_lookups_total", ["miss"], cache.misses]]
    samples["gauges"] = [
        *([f"serinus_{name}", [], value] for name, value in waiting.items()),
        *(["serinus_route_epoch", [model], epoch] for model, epoch in epochs.items()),
    ]
    return samples


def shown(folder: Path) -> Callable[[Page], None]:
    """Fills a page with the sums of all processes that leave their counts in the folder."""
    sums = Sums(folder)

    def fill(page: Page) -> None:
        added = sums.read()
        for (name, labels), value in (*added.counts.items(), *added.gauges.items()):
            page.put(name, value, *labels)
        for (name, labels), (counts, seconds) in added.times.items():
            page.add(name, labels, counts, seconds, added.examples.get((name, labels)))

    return fill
