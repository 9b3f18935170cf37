"""Scores become rows of the prediction log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from serinus.records import Arm, PredictionRow, Score, encode_row
from serving.ask import Ask, Output


def slices_of(ask: Ask, names: Iterable[str]) -> list[dict[str, str]]:
    """The values of these slices for each row, as texts: an attribute of the request, else its input; missing is "".

    Whole numbers have no decimal point."""
    found: list[dict[str, str]] = [{} for _ in range(ask.rows)]
    for name in names:
        said, tensor = ask.attributes.get(name), ask.inputs.get(name)
        if said is not None:
            values: list[Any] = [said] * ask.rows
        elif tensor is None or tensor.ndim != 1:
            continue
        else:
            values = tensor.tolist() if len(tensor) == ask.rows else tensor.tolist() * ask.rows
        for row, value in zip(found, values, strict=True):
            row[name] = _text(value)
    return found


def _text(value: str | float | bool) -> str:
    if isinstance(value, str):
        return value[:128]
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def frames(
    keys: Sequence[tuple[bytes, int, str]],
    outputs: Sequence[Output],
    slices: Sequence[dict[str, str]],
    *,
    arm: Arm,
    rollout: str,
    epoch: int,
    latency_us: int,
) -> list[bytes]:
    """One frame a row. `keys`: (request id, index, entity) of each; `outputs`: arrays of as many values."""
    columns = [(output.task, output.values.tolist(), output.version, output.fallback) for output in outputs]
    return [
        encode_row(
            PredictionRow(
                id=identity,
                index=index,
                arm=arm,
                entity=entity,
                rollout=rollout,
                epoch=epoch,
                scores=[Score(task, values[at], version, fallback) for task, values, version, fallback in columns],
                slices=slices[at],
                latency_us=latency_us,
            )
        )
        for at, (identity, index, entity) in enumerate(keys)
    ]
