"""What each model says of every flight of the year, trained once and kept in the run's folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from examples.flights.backtest import Scores, Sides, Year
from examples.flights.data import load
from examples.flights.labels import TASKS
from examples.flights.models import TRAIN_END_MS, Flights, prepare, scores, train
from serinus.sla import Sla

__all__ = ["Sides", "prepare_scores", "scored", "year_of"]

FILE = "scores.npz"
SHUFFLED = "dep_late"
"""The head that `2 shuffled` has mixed up."""
TWINS = 3


def prepare_scores(folder: Path) -> None:
    """Train all models, unless their scores are there already; a minute or two."""
    if (folder / FILE).exists():
        return
    flights = prepare(load())
    made: dict[str, np.ndarray] = {}
    with TemporaryDirectory() as packages:
        for name, (version, defect) in {
            "1": (1, True), "2": (2, True), "3": (3, True), "3 without defect": (3, False),
        }.items():  # fmt: skip
            package = train(version, flights, Path(packages) / name.replace(" ", "-"), defect=defect)
            made |= {f"{name}/{task}": p for task, p in scores(package, flights.rows).items()}
        for twin in range(1, TWINS + 1):
            package = train(2, bootstrap(flights, twin), Path(packages) / f"twin-{twin}", seed=twin)
            made |= {f"twin {twin}/{task}": p for task, p in scores(package, flights.rows).items()}
    made |= {f"2 shuffled/{task}": made[f"2/{task}"] for task in TASKS}
    made[f"2 shuffled/{SHUFFLED}"] = np.random.default_rng(0).permutation(made[f"2/{SHUFFLED}"])
    fresh = folder / "scores.new.npz"
    np.savez(fresh, **made)  # type: ignore[arg-type]
    fresh.replace(folder / FILE)


def bootstrap(flights: Flights, seed: int) -> Flights:
    """As many flights as training has, drawn with replacement, in the order of their requests."""
    count = int(np.searchsorted(flights.event_ms, TRAIN_END_MS))
    drawn = np.sort(np.random.default_rng(seed).integers(0, count, count))
    return Flights(flights.rows.take(drawn), flights.event_ms[drawn])


def scored(folder: Path, pair: tuple[str, str]) -> Sides:
    return _scores(folder, pair[0]), _scores(folder, pair[1])


@cache
def _scores(folder: Path, model: str) -> Scores:
    with np.load(folder / FILE, allow_pickle=False) as file:
        return {task: file[f"{model}/{task}"] for task in TASKS}


def year_of(sla: Sla) -> Year:
    return Year.of(sla)
