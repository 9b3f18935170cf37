"""Scores become rows of the prediction log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from serinus.records import Arm, PredictionRow, Score, encode_row
from serving.protocol import Output, Tensor


def slices_of(inputs: Mapping[str, Tensor], names: Iterable[str], rows: int) -> list[dict[str, str]]:
    """The values of these inputs, as texts, for each row; missing is "". Whole numbers have no decimal point."""
    found: list[dict[str, str]] = [{} for _ in range(rows)]
    for name in names:
        tensor = inputs.get(name)
        if tensor is None or tensor.ndim != 1:
            continue
        for row, value in zip(found, tensor.tolist(), strict=True):
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
