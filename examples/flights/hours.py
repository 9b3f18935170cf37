"""The year as a client would live it: hour by hour, the requests to send and the labels that became known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from examples.flights.data import Tables, request_id
from examples.flights.features import NUMBERS, TEXTS, features
from examples.flights.labels import labels
from examples.flights.replay import HOUR_MS, Hour
from serinus.sla import Sla

__all__ = ["hours"]


def hours(tables: Tables, start: datetime, sla: Sla) -> Iterator[Hour]:
    """Every hour of event time from `start` (UTC) to the last label of the year.

    A task whose absent labels are negatives sends its positives alone, as its source would."""
    start_ms = int(start.timestamp() * 1000)
    here = tables.flights["event_ms"].to_numpy() >= start_ms
    flights = tables.flights.filter(here)
    ids = [str(request_id(row, ms)) for row, ms in flights.select("row", "event_ms").iter_rows()]
    known = _label_rows(labels(tables.flights).filter(here), ids, sla)
    raw = features(tables).filter(here)
    event_ms = flights["event_ms"].to_numpy()
    known_ms = np.array([row["known_ms"] for row in known])
    for at in range(start_ms, int(known_ms[-1]) + HOUR_MS, HOUR_MS):
        first, last = np.searchsorted(event_ms, [at, at + HOUR_MS])
        asked = slice(int(first), int(last))
        bodies = _bodies(raw[asked], ids[asked], flights["entity"][asked].to_list(), event_ms[asked].tolist())
        told = known[slice(*np.searchsorted(known_ms, [at, at + HOUR_MS]))]
        yield Hour(at, bodies, told)


def _bodies(raw: pl.DataFrame, ids: list[str], entities: list[str], event_ms: list[int]) -> list[dict[str, Any]]:
    """Requests of the Open Inference Protocol v2; null where a value is missing."""
    columns = [(name, "BYTES", raw[name].to_list()) for name in TEXTS]
    columns += [(name, "FP32", raw[name].fill_nan(None).to_list()) for name in NUMBERS]
    return [
        {
            "id": ids[at],
            "parameters": {"entity": entities[at], "event_time_ms": event_ms[at]},
            "inputs": [
                {"name": name, "datatype": datatype, "shape": [1], "data": [column[at]]}
                for name, datatype, column in columns
            ],
        }
        for at in range(len(ids))
    ]


def _label_rows(known: pl.DataFrame, ids: list[str], sla: Sla) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for task, terms in sla.tasks.items():
        least = 1.0 if terms.absent == "negative" else 0.0
        pairs = zip(ids, known[task].to_list(), known[f"{task}_known_ms"].to_list(), strict=True)
        rows += [
            {"id": request, "task": task, "value": value, "known_ms": known_ms}
            for request, value, known_ms in pairs
            if known_ms is not None and value >= least
        ]
    return sorted(rows, key=lambda row: int(row["known_ms"]))
