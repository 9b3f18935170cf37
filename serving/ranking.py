"""Ranking: N candidates for one entity in one call, the entity's own part computed once.

`POST /v2/models/M/rank` takes what `infer` takes, with two liberties: an input has one row where it is the entity's
and N where it is the candidates', and `parameters` may name the candidates (`items`, N texts) and say how many of the
best are wanted (`top`). Score = product over the tasks of p^w, w being the model's current ranking weights; without
any, every binary task counts once. A regression task counts by its number where it has a weight (a price, say; what is
not above 0 counts as almost 0); a multiclass one has no order and counts never. What is not among the `top` is neither
answered nor recorded: nobody can have seen it, so that a label which never comes says nothing about it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

import msgspec
import numpy as np
import orjson

from serinus.errors import BadInput
from serinus.tasks import InputSpec, TaskKind
from serving.ask import MAX_ROWS, Answer, Ask, Output, Tensor, check
from serving.frontdoor import Door
from serving.protocol import (
    InferIn,
    Parameters,
    Text,
    binary_of,
    caller_of,
    decoded,
    given_of,
    head_of,
    output_of,
    with_values,
)

FLOOR = float(np.finfo(np.float32).tiny)
"""What a probability of 0 counts as: the smallest float32. Its logarithm is -87."""
EXPONENTS = (-700.0, 700.0)
"""Logarithms of the scores that are said: the order is made of unbounded ones."""

Items = Annotated[list[Text], msgspec.Meta(max_length=MAX_ROWS)]
Top = Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)]


class RankParameters(Parameters):
    items: Items | None = None
    top: Top | None = None


class RankIn(InferIn):
    parameters: RankParameters | None = None
    items: Items | None = None
    top: Top | None = None


_decoder = msgspec.json.Decoder(RankIn)
_NOTHING = RankParameters()
NO_KINDS: Mapping[str, TaskKind] = {}


class Ranking:
    """One ranking on its way: what to rank by, and once `choose` was called, what came out. `kinds`: of tasks; binary
    where it says nothing.

    `items`, `top`: as the request has them. `shown`: tasks whose answers are wanted; `binary`: as bytes.
    `weights`: task -> exponent, of the tasks that are served. `ignored`: tasks that have a weight but no order, or are
    not served.
    `index`: places in the request, best first; `scores`: float64, in that order."""

    def __init__(
        self, weights: Mapping[str, float], served: Mapping[str, int], kinds: Mapping[str, TaskKind] = NO_KINDS
    ) -> None:
        if weights:
            self.weights = {t: weights[t] for t in served if t in weights and kinds.get(t) != "multiclass"}
        else:
            self.weights = {task: 1.0 for task in served if kinds.get(task, "binary") == "binary"}
        self.ignored = sorted(weights.keys() - self.weights.keys())
        self.items: Sequence[str] | None = None
        self.top = MAX_ROWS
        self.shown: Collection[str] = ()
        self.binary: Collection[str] = ()
        self.index: Tensor = np.empty(0, np.int64)
        self.scores: Tensor = np.empty(0, np.float64)

    @property
    def needed(self) -> tuple[str, ...]:
        """The tasks without which there is no score."""
        return tuple(task for task, weight in self.weights.items() if weight)

    def choose(self, outputs: Sequence[Output], rows: int) -> Sequence[int]:
        """The places of the best in the request, best first; equals stay in the order of the request."""
        logs = log_scores({output.task: output.values for output in outputs}, self.weights, rows)
        self.index = np.argsort(-logs, kind="stable")[: self.top]
        self.scores = np.exp(np.clip(logs[self.index], *EXPONENTS))
        chosen: list[int] = self.index.tolist()
        return chosen


def log_scores(values: Mapping[str, Tensor], weights: Mapping[str, float], rows: int) -> Tensor:
    """Sum of w * log p, float64 [rows]. What is no number counts as 0, and 0 as FLOOR."""
    total = np.zeros(rows)
    for task, weight in weights.items():
        if weight:
            p = np.nan_to_num(values[task].astype(np.float64), nan=0.0)
            total += weight * np.log(np.maximum(p, FLOOR))
    return total


async def rank(
    door: Door,
    model: str,
    body: bytes,
    authorization: bytes,
    arrived_ns: int | None = None,
    *,
    tail: memoryview | None = None,
) -> tuple[bytes, int]:
    """(The answer to one ranking request, the length of its JSON when bytes follow it, else 0). Raises SerinusError.

    `body`: JSON. `tail`: the bytes behind it, if any. `arrived_ns`: as in `Door.infer`."""
    applied = door.applied(model)
    kinds = {task: spec.kind for task, spec in applied.answers.items()}
    ranking = Ranking(applied.table.weights, applied.tasks, kinds)
    ask = parse(body, ranking, applied.specs, applied.tasks, tail)
    return render(await door.infer(applied, ask, authorization, ranking.choose, arrived_ns), ranking)


def parse(
    body: bytes,
    ranking: Ranking,
    specs: Mapping[str, InputSpec],
    tasks: Mapping[str, int],
    tail: memoryview | None = None,
) -> Ask:
    """The checked request; fills in what `ranking` wants to know. Raises BadInput."""
    request: RankIn = decoded(_decoder, body, "a ranking request (JSON)")
    given, named = given_of(request.inputs, specs, tail), [output.name for output in request.outputs or ()]
    ask = check(given, caller_of(request), named, specs, tasks, ranking=True)
    said = request.parameters or _NOTHING
    for name in ("items", "top"):
        if getattr(request, name) is not None and getattr(said, name) is not None:
            raise BadInput(f"{name} is given twice, in the body and in parameters; send one of them")
    ranking.items = said.items if request.items is None else request.items
    ranking.top = request.top or said.top or MAX_ROWS
    if ranking.items is not None and len(ranking.items) != ask.rows:
        raise BadInput(f"there are {len(ranking.items)} items, expected {ask.rows}: one for each row of the inputs")
    ranking.binary = binary_of(request, tasks)
    ranking.shown = ask.tasks or tuple(tasks)
    if ask.tasks:
        ask.tasks = tuple(dict.fromkeys((*ask.tasks, *ranking.needed)))
    return ask


def render(answer: Answer, ranking: Ranking) -> tuple[bytes, int]:
    """(The answer, the length of its JSON when bytes follow it, else 0): columns, best first.

    `index` is what a label names beside the request's id."""
    shown = [output for output in answer.outputs if output.task in ranking.shown]
    found = head_of(answer)
    found["parameters"] |= {"weights": ranking.weights, "weights_ignored": ranking.ignored}
    found |= {"index": ranking.index, "scores": ranking.scores}
    if ranking.items is not None:
        found["items"] = [ranking.items[at] for at in ranking.index.tolist()]
    found["outputs"] = [output_of(output, output.task in ranking.binary) for output in shown]
    said = orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)
    return with_values(said, shown, ranking.binary)
