"""Scores become rows of the prediction log."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from serinus.records import Arm, InputRow, InputTensor, PredictionRow, Score, encode_row
from serinus.tasks import InputSpec
from serving.ask import Ask, Output, Tensor


def slices_of(ask: Ask, names: Iterable[str], excluded: Container[str] = ()) -> list[dict[str, str]]:
    """The values of these slices for each row, as texts: an attribute of the request, else its input; missing is "".

    Whole numbers have no decimal point. `excluded`: inputs that are not to be read."""
    found: list[dict[str, str]] = [{} for _ in range(ask.rows)]
    for name in names:
        said, tensor = ask.attributes.get(name), ask.inputs.get(name)
        if said is not None:
            values: list[Any] = [said] * ask.rows
        elif tensor is None or tensor.ndim != 1 or name in excluded:
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
    share: float = 1.0,
) -> list[bytes]:
    """One frame a row. `keys`: (request id, index, entity) of each; `outputs`: arrays of as many rows.

    `share`: of the entities that are recorded."""
    columns = [_scores(output) for output in outputs]
    return [
        encode_row(
            PredictionRow(
                id=identity,
                index=index,
                arm=arm,
                entity=entity,
                rollout=rollout,
                epoch=epoch,
                scores=[scores[at] for scores in columns],
                slices=slices[at],
                latency_us=latency_us,
                share=share,
            )
        )
        for at, (identity, index, entity) in enumerate(keys)
    ]


def _scores(output: Output) -> list[Score]:
    """What the log keeps of each row's answer."""
    task, version, fallback, values = output.task, output.version, output.fallback, output.values
    if values.ndim == 1:
        return [Score(task, value, version, fallback) for value in values.tolist()]
    rows = values.astype("<f4", copy=False)
    likeliest = rows.max(axis=1).tolist()
    return [Score(task, top, version, fallback, row.tobytes()) for top, row in zip(likeliest, rows, strict=True)]


def input_frame(
    identity: bytes, entity: str, ask: Ask, specs: Mapping[str, InputSpec], *, excluded: Container[str], share: float
) -> bytes:
    """The frame of a request's inputs, all its rows, without those that are excluded."""
    tensors = [
        InputTensor(name, specs[name].datatype, list(tensor.shape), _data(tensor))
        for name, tensor in ask.inputs.items()
        if name not in excluded and name in specs
    ]
    return encode_row(InputRow(identity, entity, ask.rows, tensors, share))


def _data(tensor: Tensor) -> bytes | list[str]:
    if tensor.dtype.hasobject:
        texts: list[str] = tensor.ravel().tolist()
        return texts
    return tensor.astype(tensor.dtype.newbyteorder("<"), copy=False).tobytes()
