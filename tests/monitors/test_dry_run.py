"""A guard in dry run is judged as if it decided, and decides nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitors.assess import Assessor, shares_of
from monitors.rows import Tick
from serinus.evidence import Evidence, WorkItem
from serinus.sla import Sla

HOUR_MS, START = 3_600_000, 240 * 3_600_000
AUC = {"task": "click", "metric": "auc", "margin": 0.02, "weight": 0.5}
REST = [{"task": "click", "metric": "failures", "margin": 0.5, "role": "required", "weight": 0.4}]


def with_guards(item: WorkItem, *guards: dict[str, object]) -> WorkItem:
    sla = Sla.model_validate({**item.sla.model_dump(), "slices": {}, "guards": guards})
    return item.model_copy(update={"sla": sla})


def looked(item: WorkItem, draw: Callable[..., Tick]) -> Evidence:
    rng, assessor = np.random.default_rng(3), Assessor(item)
    ticks = [draw(rng, START + at * HOUR_MS, item.sla.tasks, worse=2.0, n=200) for at in range(1, 121)]
    return [assessor.consume(tick) for tick in ticks][-1]


def test_it_finds_what_the_real_one_finds_and_nobody_is_rolled_back_for_it(
    item: WorkItem, draw: Callable[..., Tick]
) -> None:
    real = looked(with_guards(item, AUC, *REST), draw)
    dry = looked(with_guards(item, {**AUC, "dry_run": True}, *REST), draw)
    assert (real.verdict, dry.verdict) == ("violated", "inconclusive")
    assert (dry.culprits, dry.e) == ((), 0.0)
    pairs = [(a, b) for a, b in zip(real.cells, dry.cells, strict=True) if a.metric == "auc"]
    assert len(pairs) == 2
    for a, b in pairs:
        assert (b.role, b.e_violated, b.weight, b.estimate) == ("display", a.e_violated, a.weight, a.estimate)
    assert sum(b.weight * b.e_violated for _, b in pairs) >= dry.limit


def test_it_takes_no_weight_from_the_others(item: WorkItem) -> None:
    shares = shares_of(with_guards(item, {**AUC, "dry_run": True}, *REST))
    alone = shares_of(with_guards(item, *REST))
    assert [share for share in shares if not share.spec.dry_run] == list(alone)
    assert sum(share.weight for share in shares) == pytest.approx(1)
    assert all(share.weight == 0 < share.carried for share in shares if share.spec.dry_run)


def test_a_guard_that_never_rolls_back_has_no_dry_run(item: WorkItem) -> None:
    with pytest.raises(ValueError, match="never rolls back"):
        with_guards(item, {**AUC, "role": "hold", "dry_run": True, "weight": None}, *REST)
    with pytest.raises(ValueError, match="none is required"):
        with_guards(item, {**AUC, "dry_run": True})
