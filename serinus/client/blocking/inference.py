# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""The serving half of the client: answers and labels."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from serinus.client.answers import RETRIES_S
from serinus.client.blocking.base import Base
from serinus.client.label_files import parts_of
from serinus.client.tensors import to_tensors
from serinus.client.views import Answer, Label, LabelsAnswer, Ranking, Refusal
from serinus.errors import BadInput
from serinus.ids import event_ms_of, uuid7

__all__ = ["Inference"]

LABELS_A_CALL = 5_000
METADATA_S = 30.0


class Inference(Base):
    """What the serving side offers. A request carries its id, so that trying again is the same request."""

    def __init__(self) -> None:
        self._datatypes: dict[str, tuple[float, dict[str, str]]] = {}

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
        body = _request(to_tensors(inputs, self._types(model)), entity, event_time_ms, id, tasks)
        return Answer.of(self.serving.call("POST", f"/v2/models/{model}/infer", body, waits_s=RETRIES_S))

    def rank(
        self,
        model: str,
        shared: Mapping[str, Any],
        candidates: Mapping[str, Any],
        *,
        items: Sequence[str] | None = None,
        top: int | None = None,
        entity: str | None = None,
        event_time_ms: int | None = None,
        id: str | None = None,
        tasks: Sequence[str] | None = None,
        timeout_s: float | None = None,
    ) -> Ranking:
        """Rank N candidates for one entity by the model's ranking weights, the best first.

        `shared`: name -> the one value of the entity's inputs. `candidates`: name -> N values. `items`: N names to
        read in the answer. `top`: how many are wanted; what is not among them is not recorded either. `timeout_s`:
        how long the answer may take. `tasks`: whose probabilities are wanted; scores use all that have a weight."""
        types = self._types(model)
        tensors = [
            *to_tensors({name: [value] for name, value in shared.items()}, types),
            *to_tensors(candidates, types),
        ]
        body = _request(tensors, entity, event_time_ms, id, tasks)
        asked = {"items": items and list(items), "top": top, "timeout": timeout_s and int(timeout_s * 1e6)}
        body["parameters"] |= {name: value for name, value in asked.items() if value is not None}
        return Ranking.of(self.serving.call("POST", f"/v2/models/{model}/rank", body, waits_s=RETRIES_S))

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

    def import_labels(
        self, model: str, path: Path | str, seen: Callable[[float], object] = lambda _share: None
    ) -> LabelsAnswer:
        """Hand in the labels of a file: JSON lines, .csv, .parquet, .arrow or .feather (the last three need pyarrow).

        Columns: id, or join_key and event_time_ms; task, value; index, known_ms where there are any. Refused rows have
        the numbers of their lines (tables: of their rows, from 0). `seen` is told how much of the file is done."""
        accepted, more, refused = 0, 0, list[Refusal]()
        for part in parts_of(Path(path)):
            sent: dict[str, Any] = {
                "params": {"model": model},
                "content": part.body,
                "headers": {"content-type": part.kind},
            }
            said = LabelsAnswer.model_validate(self.serving.call("POST", "/v1/labels", waits_s=RETRIES_S, **sent))
            accepted, more = accepted + said.accepted, more + said.more_refused
            refused += [Refusal(row=part.numbers[each.row], why=each.why) for each in said.refused]
            seen(part.share)
        return LabelsAnswer(accepted=accepted, refused=tuple(refused), more_refused=more)

    def _types(self, model: str) -> dict[str, str]:
        """The model's datatypes, at most 30 s old: a new version may ask for more inputs."""
        known = self._datatypes.get(model)
        if known is None or known[0] < time.monotonic():
            inputs = (self.metadata(model)).get("inputs", [])
            known = (time.monotonic() + METADATA_S, {each["name"]: each["datatype"] for each in inputs})
            self._datatypes[model] = known
        return known[1]


def _batches(rows: Sequence[Label], size: int) -> Iterator[tuple[int, Sequence[Label]]]:
    """(first row, rows) of each batch; one empty batch when there are none."""
    for start in range(0, max(len(rows), 1), size):
        yield start, rows[start : start + size]


def _request(
    tensors: list[dict[str, Any]],
    entity: str | None,
    event_time_ms: int | None,
    id: str | None,
    tasks: Sequence[str] | None,
) -> dict[str, Any]:
    """The body of a request that carries its id and event time, so that trying again is the same request."""
    if id is None:
        id = str(uuid7(event_time_ms if event_time_ms is not None else time.time_ns() // 1_000_000))
    parameters = {"event_time_ms": event_time_ms if event_time_ms is not None else _event_ms(id)}
    asked = {} if tasks is None else {"outputs": [{"name": task} for task in tasks]}
    return {
        "id": id,
        "inputs": tensors,
        "parameters": parameters if entity is None else {**parameters, "entity": entity},
        **asked,
    }


def _event_ms(request_id: str) -> int:
    try:
        return event_ms_of(uuid.UUID(request_id))
    except ValueError as error:
        raise BadInput(f"id {request_id!r}: {error}", "leave it out, or make it by serinus.ids.uuid7") from error
