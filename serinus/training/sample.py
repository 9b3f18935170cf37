"""The rows of sample.json: some as they came, one with all that may be missing missing, one of unknown words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serinus.execute import DTYPES
from serinus.tasks import InputSpec

__all__ = ["Sample", "sample_of"]

ROWS = 6
UNHEARD = "(a word that was never seen)"


@dataclass(frozen=True, eq=False)
class Sample:
    """The same rows twice: as arrays, and as columns for JSON, where None is a missing value."""

    raw: Mapping[str, npt.NDArray[Any]]
    columns: Mapping[str, list[Any]]


def sample_of(inputs: Sequence[InputSpec], raw: Mapping[str, npt.NDArray[Any]], rows: int = ROWS) -> Sample:
    """`rows` of `raw`, evenly spread, then the two special ones. Only inputs that `raw` has."""
    count = len(next(iter(raw.values())))
    chosen = np.linspace(0, count - 1, min(rows, count)).astype(np.int64)
    arrays: dict[str, npt.NDArray[Any]] = {}
    columns: dict[str, list[Any]] = {}
    for spec in inputs:
        if spec.name not in raw:
            continue
        taken = np.asarray(raw[spec.name])[chosen].astype(DTYPES[spec.datatype])
        gap, odd = taken[:1].copy(), taken[:1].copy()
        if spec.nullable:
            gap[...] = "" if spec.datatype == "BYTES" else np.nan
        if spec.datatype == "BYTES":
            odd[...] = UNHEARD
        arrays[spec.name] = np.concatenate([taken, gap, odd])
        columns[spec.name] = [_json(value, spec) for value in arrays[spec.name].tolist()]
    return Sample(arrays, columns)


def _json(value: Any, spec: InputSpec) -> Any:
    """None where missing. An empty text stays one where null is not allowed: to the graph they are the same."""
    if isinstance(value, list):
        return [_json(item, spec) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return None if value == "" and spec.nullable else value
