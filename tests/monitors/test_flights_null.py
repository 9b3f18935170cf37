"""Real traffic without a difference: two models of the flights whose names a coin swaps every day.

Storms hit all users at once and models drift with the season, yet the true difference is exactly 0: nothing may fire.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from examples.flights.data import load
from examples.flights.features import NUMBERS, features
from examples.flights.labels import labels
from monitors.assess import Assessor
from monitors.rows import Scored, Tick
from serinus.archive_rows import entity_hash
from serinus.evidence import WorkItem
from serinus.sla import Sla

DAY_MS = 86_400_000
TASKS = ("dep_late", "arr_late", "cancelled")
STARTS, DAYS = ("2013-04-01", "2013-05-22", "2013-07-11", "2013-09-01"), 14
YAML = Path(__file__).parents[2] / "examples" / "flights" / "sla.yaml"


@pytest.fixture(scope="module")
def year() -> dict[str, np.ndarray]:
    """Of every flight: time, entity, origin, and per task the label and what two unequal models say."""
    tables = load()
    flights, x = tables.flights, features(tables)
    event_ms = flights["event_ms"].to_numpy()
    wide = np.column_stack([x[name].to_numpy() for name in NUMBERS])
    narrow = wide[:, [NUMBERS.index(name) for name in ("minute_local", "distance", "weekday", "origin_late_1h")]]
    known = labels(flights)
    before = event_ms < np.datetime64("2013-04-01", "ms").astype(np.int64) - DAY_MS
    columns = {"event_ms": event_ms, "origin": flights["origin"].to_numpy()}
    columns["entity"] = np.array([entity_hash(entity) for entity in flights["entity"]], np.uint64)
    for task in TASKS:
        y = known[task].to_numpy().astype(float)
        columns[f"{task}/y"] = y
        train = np.flatnonzero(before & np.isfinite(y))[::3]
        for name, inputs, depth in (("a", wide, 6), ("b", narrow, 3)):
            model = HistGradientBoostingClassifier(max_iter=40, max_depth=depth, random_state=0)
            columns[f"{task}/{name}"] = model.fit(inputs[train], y[train]).predict_proba(inputs)[:, 1]
    return columns


@pytest.fixture(scope="module")
def sla() -> Sla:
    """The example's own, without what is only shown, and a look every six hours."""
    whole = Sla.from_yaml(YAML.read_text())
    deciding = [guard.model_dump() for guard in whole.guards if guard.role != "display"]
    return Sla.model_validate({**whole.model_dump(), "guards": deciding, "tick_s": 21_600})


def largest_e(sla: Sla, year: dict[str, np.ndarray], start: str, seed: int, *, swap: bool) -> float:
    """The largest sum at any look, of a rollout that begins at `start`; b is in a's place on half of the days."""
    start_ms = int(np.datetime64(start, "ms").astype(np.int64))
    coins = np.random.default_rng(seed).random(400) < 0.5
    step = sla.tick_s * 1000
    places = {origin: at for at, origin in enumerate(sla.slices["origin"])}
    item = WorkItem(
        rollout="null", model="flights", sla=sla, baseline=1, candidate=2, alpha=0.05, started_event_ms=start_ms
    )
    assessor, largest = Assessor(item), 0.0
    for tick_ms in range(start_ms + step, start_ms + DAYS * DAY_MS, step):
        first, last = np.searchsorted(year["event_ms"], [tick_ms - step, tick_ms])
        streams = {}
        for task in TASKS:
            at = np.arange(first, last)[np.isfinite(year[f"{task}/y"][first:last])]
            event_ms = year["event_ms"][at]
            swapped = coins[(event_ms - start_ms) // DAY_MS] & swap
            where = np.full((len(at), len(sla.slices)), -1)
            where[:, list(sla.slices).index("origin")] = [places[origin] for origin in year["origin"][at]]
            a, b = year[f"{task}/a"][at], year[f"{task}/b"][at]
            common = (event_ms, year["entity"][at], year[f"{task}/y"][at])
            sides = np.where(swapped, b, a), np.where(swapped, a, b)
            streams["shadow", task] = (Scored(*common, sides[0], where), Scored(*common, sides[1], where))
        largest = max(largest, assessor.consume(Tick(tick_ms, streams)).e)
    return largest


def test_nothing_fires_where_there_is_no_difference(sla: Sla, year: dict[str, np.ndarray]) -> None:
    found = [largest_e(sla, year, start, seed, swap=True) for start in STARTS for seed in (1, 2, 3)]
    # Binomial(12, .05) exceeds 3 with probability .002; windows from one start share their storms
    assert sum(e >= 20 for e in found) <= 3, found


def test_the_same_two_models_without_the_coin_are_told_apart(sla: Sla, year: dict[str, np.ndarray]) -> None:
    """The null above is silent because nothing is there, not because nothing is heard."""
    assert largest_e(sla, year, "2013-04-01", 0, swap=False) >= 20
