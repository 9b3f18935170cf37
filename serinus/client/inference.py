"""The serving half of the client: answers and labels."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from serinus.client.connection import RETRIES_S, Connection
from serinus.client.tensors import to_tensors
from serinus.client.views import Answer, Label, LabelsAnswer, Refusal
from serinus.errors import BadInput
from serinus.ids import event_ms_of, uuid7

__all__ = ["Inference"]

LABELS_A_CALL = 5_000
METADATA_S = 30.0


class Inference:
    """What the serving side offers. A request carries its id, so that trying again is the same request."""

    def __init__(self) -> None:
        self._datatypes: dict[str, tuple[float, dict[str, str]]] = {}

    @cached_property
    def serving(self) -> Connection:
        """The connection to the serving side."""
        raise NotImplementedError

    def metadata(self, model: str) -> dict[str, Any]:
        """The model as the Open Inference Protocol describes it: inputs and outputs with datatypes and shapes."""
        found: dict[str, Any] = self.serving.call("GET", f"/v2/models/{model}", waits_s=RETRIES_S)
        return found

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        entity: str | None = None,
        event_time_ms: int | None = None,
        id: str | None = None,
        tasks: Sequence[str] | None = None,
    ) -> Answer:
        """Ask a model about some rows. `inputs`: name -> one value a row, None where it is missing.

        `entity`: the sticky key of the split, such as a user. `event_time_ms`: when it happened (Unix ms); None: now,
        or the time that `id` carries. `id`: a UUIDv7; None makes one. `tasks`: None asks for all."""
        if id is None:
            id = str(uuid7(event_time_ms if event_time_ms is not None else time.time_ns() // 1_000_000))
        parameters = {"event_time_ms": event_time_ms if event_time_ms is not None else _event_ms(id)}
        body = {
            "id": id,
            "inputs": to_tensors(inputs, self._types(model)),
            "parameters": parameters if entity is None else {**parameters, "entity": entity},
        }
        if tasks is not None:
            body["outputs"] = [{"name": task} for task in tasks]
        return Answer.of(self.serving.call("POST", f"/v2/models/{model}/infer", body, waits_s=RETRIES_S))

    def labels(
        self,
        model: str,
        rows: Iterable[Label],
        complete_to: tuple[str, int] | None = None,
    ) -> LabelsAnswer:
        """Hand in labels; repeating one changes nothing. Good rows are kept when others are refused.

        `complete_to`: (label source, event time in Unix ms): it has now sent every label known up to then."""
        wanted = list(rows)
        accepted, refused = 0, list[Refusal]()
        for start, some in _batches(wanted, LABELS_A_CALL):
            body: dict[str, Any] = {"model": model, "labels": [label.row() for label in some]}
            if complete_to is not None and start + len(some) == len(wanted):
                body["complete_to"] = {"source": complete_to[0], "event_ms": complete_to[1]}
            said = LabelsAnswer.model_validate(self.serving.call("POST", "/v1/labels", body, waits_s=RETRIES_S))
            accepted += said.accepted
            refused += [Refusal(row=start + each.row, why=each.why) for each in said.refused]
        return LabelsAnswer(accepted=accepted, refused=tuple(refused))

    def _types(self, model: str) -> dict[str, str]:
        """The model's datatypes, at most 30 s old: a new version may ask for more inputs."""
        known = self._datatypes.get(model)
        if known is None or known[0] < time.monotonic():
            inputs = self.metadata(model).get("inputs", [])
            known = (time.monotonic() + METADATA_S, {each["name"]: each["datatype"] for each in inputs})
            self._datatypes[model] = known
        return known[1]


def _batches(rows: Sequence[Label], size: int) -> Iterator[tuple[int, Sequence[Label]]]:
    """(first row, rows) of each batch; one empty batch when there are none."""
    for start in range(0, max(len(rows), 1), size):
        yield start, rows[start : start + size]


def _event_ms(request_id: str) -> int:
    try:
        return event_ms_of(uuid.UUID(request_id))
    except ValueError as error:
        raise BadInput(f"id {request_id!r}: {error}", "leave it out, or make it by serinus.ids.uuid7") from error
