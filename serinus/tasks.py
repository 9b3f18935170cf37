"""Tasks and raw inputs: what a model predicts, and from what."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LARGEST_LABEL", "MAX_CLASSES", "NAME", "Datatype", "InputSpec", "Name", "TaskKind", "TaskSpec", "Word"]

NAME = r"^[a-z][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
"""Names of models, tasks, parts and pools: they become file names, label values and URLs."""

Datatype = Literal["FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES"]
"""Tensor datatypes of the Open Inference Protocol v2; BYTES is text (UTF-8)."""

TaskKind = Literal["binary", "regression", "multiclass"]
MAX_CLASSES = 1_000
LARGEST_LABEL = 1e30
"""Of a regression task, either sign: its square is still a number, as are sums of many."""


Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
ClassName = Annotated[str, Field(min_length=1, max_length=128)]


class Word(BaseModel):
    """Base of every shared word: immutable, and a field that it does not know is an error.

    Infinity travels in JSON as the text "Infinity", and is read back from it (an e-value may overflow)."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class InputSpec(Word):
    """One raw input, as the caller has it.

    `shape` is the shape of one row: `()` for a scalar, which travels as a tensor of shape [n].
    A missing value (JSON null) is allowed where `nullable`: NaN for floats, the empty text for BYTES.
    An input that is not `required` may be left out of a request: it is then missing in every row."""

    name: Name
    datatype: Datatype
    shape: tuple[int, ...] = ()
    required: bool = True
    nullable: bool = False


class TaskSpec(Word):
    """One task of a package. `output` names the tensor of its answers, float32.

    binary: probabilities, shape [n]. regression: finite numbers, shape [n], in `unit`. multiclass: a probability for
    each of `classes`, shape [n, len(classes)], rows that sum to 1; a label is the place of a class, from 0.
    `base_rate`: what stands in for an answer that does not come: the share of ones, the mean, the shares of classes."""

    name: Name
    kind: TaskKind
    output: str
    base_rate: Finite | Annotated[tuple[Share, ...], Field(max_length=MAX_CLASSES)]
    classes: Annotated[tuple[ClassName, ...], Field(max_length=MAX_CLASSES)] = ()
    unit: Annotated[str, Field(max_length=64)] = ""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one row's answer: () or (classes,)."""
        return (len(self.classes),) if self.kind == "multiclass" else ()

    def model_post_init(self, _context: Any, /) -> None:
        if self.unit and self.kind != "regression":
            raise ValueError(f"task {self.name!r} has a unit, but is {self.kind}")
        if self.kind != "multiclass":
            if self.classes:
                raise ValueError(f"task {self.name!r} has classes, but is {self.kind}")
            if isinstance(self.base_rate, tuple):
                raise ValueError(f"task {self.name!r} is {self.kind}: its base_rate must be one number")
            if self.kind == "binary" and not 0 <= self.base_rate <= 1:
                raise ValueError(f"task {self.name!r}: its base_rate is {self.base_rate:g}, not within 0 to 1")
            return
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"task {self.name!r} is multiclass: it must have classes, at least 2, of different names")
        shares = self.base_rate if isinstance(self.base_rate, tuple) else ()
        if len(shares) != len(self.classes) or not math.isclose(sum(shares), 1, abs_tol=1e-3):
            raise ValueError(f"task {self.name!r}: its base_rate must be the share of each class, 1 together")
