"""Many rows at once leave the cells as each cell by itself would be, to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.accumulation import members
from monitors.accumulators import Cell, Layout
from monitors.entering import enter_scores, enter_sums
from monitors.rows import Scored
from monitors.summands import Batch, columns_of
from serinus.sla import Sla

DAY_MS = 86_400_000
BOUNDARIES = (10 * DAY_MS + 600_000, 11 * DAY_MS)


def cells() -> list[tuple[str, Cell]]:
    """Of different tables, as display, required and unlabelled cells have them."""
    layouts = {
        "overall": Layout(boundaries=BOUNDARIES, curve=True),
        "country=BR": Layout(users=32, pooled=128, boundaries=BOUNDARIES),
        "country=DE": Layout(users=32, columns=3, bins=0, pooled=0, boundaries=BOUNDARIES),
        "country=FR": Layout(users=32, bins=16, pooled=128),
        "device=a": Layout(users=32, columns=4, bins=32, pooled=128, curve=True),
    }
    return [(where, Cell.empty(layout)) for where, layout in layouts.items()]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([60_000, 6 * 3_600_000, 3 * DAY_MS]))
def test_all_cells_at_once_are_the_cells_one_by_one(seed: int, n: int, spread_ms: int) -> None:
    sla = Sla.model_validate(
        {
            "model": "m",
            "tasks": {"t": {"label_window_s": 60, "absent": "negative"}},
            "slices": {"country": ["BR", "DE", "FR", "XX"], "device": ["a", "b"]},
        }
    )
    rng = np.random.default_rng(seed)
    one, other = cells(), cells()
    for turn in range(2):
        event_ms = 10 * DAY_MS + turn * 500_000 + rng.integers(0, spread_ms, n)
        entity = rng.integers(0, 2**63, n).astype(np.uint64)
        y, slices = rng.integers(0, 2, n).astype(float), rng.integers(-1, 5, (n, 2))
        slices[:, 1] = np.minimum(slices[:, 1], 1)
        a, b = (Scored(event_ms, entity, y, rng.random(n), slices) for _ in range(2))
        batch = Batch.of(a, b, columns_of(a, b)).with_bins(rng.integers(0, 256, 2 * n))
        for where, cell in one:
            inside = members(sla, where, batch.slices, batch.entity)
            mine = batch if inside is None else batch.take(np.flatnonzero(inside))
            cell.add_sums(mine)
            cell.add_scores(mine)
        enter_sums(sla, other, batch)
        enter_scores(sla, other, batch)
    for (where, wanted), (_, found) in zip(one, other, strict=True):
        assert found.changed == wanted.changed
        theirs = found.state()
        for name, array in wanted.state().items():
            assert theirs[name].dtype == array.dtype
            np.testing.assert_array_equal(theirs[name], array, err_msg=f"{where} {name}")
        for mine, blocks in zip(found.times, wanted.times, strict=True):
            np.testing.assert_array_equal(mine.own, blocks.own)
