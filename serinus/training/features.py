"""What a model reads from the raw inputs, declared: numbers, categories, times on a circle, and derived numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serinus.tasks import InputSpec

__all__ = ["Category", "Cyclic", "Derived", "Feature", "Lookup", "Number", "Source", "inputs_of"]


@dataclass(frozen=True, eq=False)
class Lookup:
    """The number that `table` gives for the text of an input, else `default` (NaN: missing)."""

    input: str
    table: Mapping[str, float]
    default: float = 0.0

    def __post_init__(self) -> None:
        if not self.table:
            raise ValueError(f"the table of Lookup({self.input!r}) is empty")


@dataclass(frozen=True, eq=False)
class Derived:
    """A weighted sum of other numbers, brought into [0, period) when a period is given. Missing if one of them is.

    Local minute of the day: `Derived(["utc_minute", Lookup("origin", offsets)], period=1440)`."""

    terms: Sequence[Source]
    weights: Sequence[float] | None = None
    period: float | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("Derived needs at least one term")
        if self.weights is not None and len(self.weights) != len(self.terms):
            raise ValueError(f"Derived has {len(self.terms)} terms but {len(self.weights)} weights")
        if self.period is not None and not self.period > 0:
            raise ValueError(f"the period is {self.period}, not above 0")


Source = str | Lookup | Derived
"""Where a number comes from: a raw input by its name, a table, or a sum."""


class Feature:
    """What a network reads of a row: one of `Number`, `Cyclic`, `Category`."""


@dataclass(frozen=True, eq=False)
class Number(Feature):
    """A number, standardised over the training rows; a missing one becomes their mean, plus a column that tells.

    `clip`: bounds on the raw value; `log`: then sign(x) log(1 + |x|). In the end it is kept within 10 standard
    deviations, so that one absurd value cannot throw a prediction anywhere."""

    source: Source
    log: bool = False
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not self.clip[0] <= self.clip[1]:
            raise ValueError(f"clip is {self.clip}: the lower bound comes first")


@dataclass(frozen=True, eq=False)
class Cyclic(Feature):
    """Sine and cosine of a number that comes round every `period` (a minute of the day); both 0 when missing."""

    source: Source
    period: float

    def __post_init__(self) -> None:
        if not self.period > 0:
            raise ValueError(f"the period is {self.period}, not above 0")


@dataclass(frozen=True, eq=False)
class Category(Feature):
    """One of many: 0 unknown, 1 missing (the empty text), then the vocabulary, in order.

    Without a `vocabulary` it is learnt: what at least `min_count` training rows have, at most `limit` of them, the
    most frequent first. The rarer ones train the unknown."""

    input: str
    vocabulary: tuple[str, ...] | None = None
    min_count: int = 5
    limit: int = 10_000


def inputs_of(features: Sequence[Feature], inputs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """The inputs as the manifest declares them: those that no feature reads are not required.

    Raises ValueError for a feature that reads what is not there, or a number where a text is (and the reverse)."""
    specs = {spec.name: spec for spec in inputs}
    if not features:
        raise ValueError("a model needs at least one feature")
    used = {name for feature in features for name in _reads(feature)[0]}
    if unknown := used - specs.keys():
        raise ValueError(f"a feature reads {min(unknown)!r}, which is not one of the inputs {sorted(specs)}")
    for name in used:
        spec = specs[name]
        if spec.shape:
            raise ValueError(f"input {name!r} has the shape {spec.shape}; features read scalars")
        if spec.datatype in {"INT32", "INT64", "BOOL"} and (spec.nullable or not spec.required):
            raise ValueError(f"input {name!r} is {spec.datatype}, which cannot be missing: make it FP32 or required")
    for feature in features:
        read, texts = _reads(feature)
        for name in read:
            if (specs[name].datatype == "BYTES") != (name in texts):
                wanted = "text" if name in texts else "a number"
                raise ValueError(f"input {name!r} is {specs[name].datatype}, but a feature reads it as {wanted}")
    return tuple(spec if spec.name in used else spec.model_copy(update={"required": False}) for spec in specs.values())


def _reads(feature: Feature) -> tuple[set[str], set[str]]:
    """(the inputs that it reads, those of them that it reads as text)."""
    match feature:
        case Category():
            return {feature.input}, {feature.input}
        case Number() | Cyclic():
            return _read_by(feature.source)
    raise ValueError(f"{feature!r} is none of Number, Cyclic and Category")


def _read_by(source: Source) -> tuple[set[str], set[str]]:
    match source:
        case str():
            return {source}, set()
        case Lookup():
            return {source.input}, {source.input}
        case Derived():
            parts = [_read_by(term) for term in source.terms]
            return {name for read, _ in parts for name in read}, {name for _, texts in parts for name in texts}
