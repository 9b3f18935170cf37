"""`baseline.json` of a package: what its maker saw of raw inputs, scores and labels, for everybody and in each slice.

Monitors compare live traffic with it. A package may leave out all but the tasks: then the checks that need the rest say
so. What is read is bounded in size and in numbers, for somebody else has made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serinus.errors import InvalidPackage

__all__ = [
    "BASELINE",
    "MAX_BASELINE_BYTES",
    "MAX_CATEGORIES",
    "MAX_EDGES",
    "OVERALL",
    "Baseline",
    "Histogram",
    "InputBaseline",
    "TaskBaseline",
    "TaskPlaces",
    "read_baseline",
]

BASELINE, OVERALL = "baseline.json", "overall"
MAX_BASELINE_BYTES, MAX_CATEGORIES, MAX_EDGES, MAX_PLACES = 4 << 20, 1_000, 64, 512

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=256)]


class _Told(BaseModel):
    """Immutable; a field that it does not know is somebody else's (a maker may write more)."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Histogram(_Told):
    """`edges`: rising, a value on an edge belongs to the bin above it; `shares`: of len(edges) + 1 bins."""

    edges: Annotated[tuple[Finite, ...], Field(max_length=MAX_EDGES)] = ()
    shares: Annotated[tuple[Share, ...], Field(max_length=MAX_EDGES + 1)] = ()

    def model_post_init(self, _context: object, /) -> None:
        if any(not low < high for low, high in pairwise(self.edges)):
            raise ValueError("the edges of a histogram must rise")
        if len(self.shares) != len(self.edges) + 1:
            raise ValueError(f"a histogram of {len(self.edges)} edges has {len(self.shares)} shares")
        _sums_to_one(self.shares)


class InputBaseline(_Told):
    """One raw input. `missing`: share of all `rows`; all other shares are of the rows that have a value.

    A text: `categories`: its most frequent values with their shares, `rest`: the share of all others. A number:
    `numbers`: at quantiles, with the least, the greatest and the mean.

    `wander`: the greatest population stability index of one day (without event times: of one of ten consecutive parts)
    against all rows.
    `spell_s`: the longest time for which more than half of the rows had values that all stayed the same, of `span_s`
    seconds altogether; None where the rows came without event times."""

    rows: Annotated[int, Field(ge=0)]
    missing: Share = 0.0
    categories: Annotated[dict[Word, Share], Field(max_length=MAX_CATEGORIES)] = {}
    rest: Share = 0.0
    numbers: Histogram | None = None
    low: Finite | None = None
    high: Finite | None = None
    mean: Finite | None = None
    wander: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    spell_s: Annotated[int, Field(ge=0)] | None = None
    span_s: Annotated[int, Field(ge=0)] | None = None

    def model_post_init(self, _context: object, /) -> None:
        if self.categories:
            _sums_to_one((*self.categories.values(), self.rest))


class TaskBaseline(_Told):
    """One task in one place (everybody, or a slice). None: not told.

    `calibration`: sum p / sum y. `log_loss`: mean, nats; `reference`: that of always saying the base rate."""

    labels: Annotated[int, Field(ge=0)] | None = None
    positives: Annotated[int, Field(ge=0)] | None = None
    auc: Share | None = None
    log_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    calibration: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    reference: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    scores: Histogram | None = None

    @property
    def base_rate(self) -> float | None:
        return self.positives / self.labels if self.labels and self.positives is not None else None


class TaskPlaces(TaskBaseline):
    """A task for everybody, and `slices`: "origin=EWR" -> the same there."""

    slices: Annotated[dict[str, TaskBaseline], Field(max_length=MAX_PLACES)] = {}


class Baseline(_Told):
    """Format 1. `inputs`: raw input -> place ("overall" or "origin=EWR") -> what was seen there."""

    format: Literal[1] = 1
    rows: Annotated[int, Field(ge=0)] = 0
    tasks: Annotated[dict[str, TaskPlaces], Field(max_length=256)] = {}
    inputs: Annotated[
        dict[str, Annotated[dict[str, InputBaseline], Field(max_length=MAX_PLACES)]], Field(max_length=4_096)
    ] = {}

    def task(self, name: str, place: str = OVERALL) -> TaskBaseline | None:
        """None where it is not told."""
        told = self.tasks.get(name)
        return told if told is None or place == OVERALL else told.slices.get(place)

    def input(self, name: str, place: str = OVERALL) -> InputBaseline | None:
        """None where it is not told; a slice that is not told is as everybody."""
        told = self.inputs.get(name, {})
        return told.get(place, told.get(OVERALL))

    @classmethod
    def of_json(cls, text: bytes) -> Baseline:
        """Raises InvalidPackage that names the field, or says that it is too large."""
        if len(text) > MAX_BASELINE_BYTES:
            raise InvalidPackage(f"{BASELINE} has more than {MAX_BASELINE_BYTES} bytes")
        try:
            return cls.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(step) for step in first["loc"]) or BASELINE
            raise InvalidPackage(f"{BASELINE}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
        except (ValueError, RecursionError) as error:
            raise InvalidPackage(f"{BASELINE} is not JSON: {error}") from error


def read_baseline(folder: Path) -> Baseline:
    """The baseline of a package's folder, never more than its bound. Raises InvalidPackage, OSError."""
    with (folder / BASELINE).open("rb") as file:
        return Baseline.of_json(file.read(MAX_BASELINE_BYTES + 1))


def _sums_to_one(shares: Iterable[float]) -> None:
    total = sum(shares)
    if abs(total - 1) > 1e-3 and total != 0:
        raise ValueError(f"the shares sum to {total:.4g}, not to 1")
