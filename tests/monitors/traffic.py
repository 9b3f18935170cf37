"""Synthetic traffic with raw inputs: daily cycles, an hourly weather feed, three countries; and its baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from monitors.references import Reference
from serinus.baseline import Baseline
from serinus.ids import uuid7
from serinus.records import InputRow, InputTensor
from serinus.sla import Sla
from serinus.tasks import InputSpec
from serinus.training.baseline import baseline_of

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
T0 = 20_000 * DAY_MS
COUNTRIES = ("BR", "DE", "US")
SPECS = (
    InputSpec(name="country", datatype="BYTES"),
    InputSpec(name="device", datatype="BYTES", nullable=True),
    InputSpec(name="temperature", datatype="FP32", nullable=True),
    InputSpec(name="price", datatype="FP64"),
    InputSpec(name="minute", datatype="INT32"),
)
Raw = dict[str, np.ndarray[Any, Any]]


def weather(hour: int, country: int) -> float:
    """What a station says for an hour: a daily cycle and its own noise, to a tenth of a degree."""
    noise = np.random.default_rng(hour * 7 + country).normal(0, 2)
    return round(15 + 5 * country + 6 * np.sin(2 * np.pi * ((hour % 24) - 9) / 24) + noise, 1)


def hour_of(rng: np.random.Generator, hour: int, rows: int) -> tuple[Raw, np.ndarray[Any, Any]]:
    """(Raw inputs, event times) of one hour: more rows by day, other devices at night, prices by country."""
    day = 0.5 + 0.5 * np.sin(2 * np.pi * ((hour % 24) - 6) / 24)
    n = int(rows * (0.3 + 1.4 * day))
    country = rng.choice(3, n, p=[0.2 + 0.2 * day, 0.4 - 0.1 * day, 0.4 - 0.1 * day])
    event_ms = np.sort(rng.integers(hour * HOUR_MS, (hour + 1) * HOUR_MS, n))
    device = np.where(rng.random(n) < 0.3 + 0.4 * day, "web", "phone").astype(object)
    device[rng.random(n) < 0.01] = ""
    now = np.array([weather(hour, c) for c in range(3)], np.float32)
    raw = {
        "country": np.array(COUNTRIES, object)[country],
        "device": device,
        "temperature": now[country],
        "price": rng.lognormal(3 + country, 0.4),
        "minute": (event_ms // 60_000 % 1440).astype(np.int32),
    }
    return raw, event_ms


def stretch(rng: np.random.Generator, first: int, hours: int, rows: int) -> tuple[Raw, np.ndarray[Any, Any]]:
    parts = [hour_of(rng, first + at, rows) for at in range(hours)]
    raw = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    return raw, np.concatenate([part[1] for part in parts])


def requests(rng: np.random.Generator, raw: Raw, event_ms: np.ndarray[Any, Any], users: int = 400) -> list[InputRow]:
    """One request a row. A number as the serving writes it, little-endian."""
    specs = {spec.name: spec for spec in SPECS}
    made = []
    for at, when in enumerate(event_ms.tolist()):
        tensors = [
            InputTensor(
                name,
                specs[name].datatype,
                [1],
                [str(column[at])] if column.dtype == object else column[at : at + 1].tobytes(),
            )
            for name, column in raw.items()
        ]
        identity = uuid7(when, rng.bytes(10))
        made.append(InputRow(identity.bytes, f"user-{rng.integers(users)}", 1, tensors))
    return made


def baseline(rng: np.random.Generator, days: int = 14, rows: int = 200) -> Baseline:
    """Of the fortnight before T0."""
    raw, event_ms = stretch(rng, T0 // HOUR_MS - 24 * days, 24 * days, rows)
    told = baseline_of(SPECS, raw, {}, {}, lambda *_: {}, event_ms=event_ms)
    return Baseline.model_validate(told)


def reference(told: Baseline, version: int = 1, **words: frozenset[str]) -> Reference:
    return Reference(version, f"digest-{version}", told, words or {"country": frozenset(COUNTRIES)})


def sla_of(**changes: Any) -> Sla:
    told: dict[str, Any] = {
        "model": "ads",
        "tasks": {"click": {"label_window_s": 600, "absent": "negative"}},
        "slices": {"country": list(COUNTRIES)},
        "serving": {"inputs_share": 1.0},
    }
    return Sla.model_validate({**told, **changes})
