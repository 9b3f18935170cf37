"""A regression that begins late is found by what came since a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from monitors.assess import Assessor
from monitors.restarts import DAY_MS, MAX_RESTARTS, boundaries_of, combined
from monitors.rows import Tick
from serinus.evidence import WorkItem
from serinus.sla import Sla

HOUR_MS, START = 3_600_000, 240 * 3_600_000
Draw = Callable[..., Tick]


def lasting(item: WorkItem, days: int) -> WorkItem:
    plan = item.sla.rollout.model_copy(update={"max_duration_s": days * 86_400})
    return item.model_copy(update={"sla": item.sla.model_copy(update={"rollout": plan})})


@pytest.mark.parametrize("days", [1, 2, 5, 14, 60, 366])
def test_restarts_are_midnights_within_the_plan(item: WorkItem, days: int) -> None:
    found = boundaries_of(lasting(item, days))
    assert len(found) == min(MAX_RESTARTS, days - 1)
    assert all(each % DAY_MS == 0 for each in found)
    assert list(found) == sorted(set(found))
    assert all(item.started_event_ms < each < item.started_event_ms + days * DAY_MS for each in found)


def test_half_is_from_the_start_and_half_is_spread() -> None:
    assert combined(np.array([8.0]), 0) == 8
    assert combined(np.array([8.0]), 12) == 4 + 0.5
    assert combined(np.array([8.0, 24.0]), 12) == 4 + (24 + 11) / 24
    assert combined(np.array([0.0]), 12) == 0  # the same model twice
    assert combined(np.array([0.0, 24.0]), 12) == 1


def ticks_to_rollback(item: WorkItem, draw: Draw, onset: int, *, restarts: bool) -> int | None:
    rng, assessor = np.random.default_rng(1), Assessor(item)
    if not restarts:
        for cell in assessor.whole.cells.values():
            cell.layout = replace(cell.layout, boundaries=())
    for at in range(1, onset + 60):
        worse = 4.0 if at > onset else 0.0
        tick = draw(rng, START + at * 6 * HOUR_MS, ["click"], n=300, step_ms=6 * HOUR_MS, worse=worse, noise=0.2)
        if assessor.consume(tick).verdict == "violated":
            return at - onset
    return None


def test_a_regression_that_begins_late_is_found_much_earlier_with_restarts(item: WorkItem, draw: Draw) -> None:
    """Fifteen healthy days, and then the candidate is worse by far; a plan of at most 20 days."""
    guards = [{"task": "click", "metric": "auc", "margin": 0.02}]
    sla = Sla.model_validate({**item.sla.model_dump(), "slices": {}, "guards": guards})
    plain = lasting(item.model_copy(update={"sla": sla}), 20)
    late, never = (ticks_to_rollback(plain, draw, 60, restarts=restarts) for restarts in (True, False))
    assert late is not None
    assert late > 0
    assert never is None or never > 2 * late
