"""Tasks and raw inputs: what a model predicts, and from what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["NAME", "Datatype", "InputSpec", "Name", "TaskKind", "TaskSpec", "Word"]

NAME = r"^[a-z][a-z0-9_-]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
"""Names of models, tasks, parts and pools: they become file names, label values and URLs."""

Datatype = Literal["FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES"]
"""Tensor datatypes of the Open Inference Protocol v2; BYTES is text (UTF-8)."""

TaskKind = Literal["binary", "regression", "multiclass"]


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
    """One task of a package. `output` names the tensor that holds its probabilities, shape [n]."""

    name: Name
    kind: TaskKind
    output: str
    base_rate: Annotated[float, Field(ge=0, le=1)]
