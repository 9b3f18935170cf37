"""What the client gives back. A field that it does not know is left out, so that a newer server can say more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serinus.evidence import HealthAlert
from serinus.routes import Weights
from serinus.sla import Sla

__all__ = [
    "AlertView",
    "Answer",
    "HealthView",
    "ImportedView",
    "Label",
    "LabelsAnswer",
    "ModelView",
    "Ranked",
    "Ranking",
    "Refusal",
    "VersionView",
    "View",
    "WeightsLine",
    "WeightsView",
]


class View(BaseModel):
    """Base of what a server shows."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class VersionView(View):
    """A version of a model. `created`: False when a push found the same digest registered already."""

    version: int
    digest: str
    created: bool = True
    created_at: float | None = None
    """Unix seconds."""


class ImportedView(VersionView):
    """A version that came in a bundle. `sla`: the bundle's was taken ("created"), is the same, or ours was "kept".

    `signatures`: names of keys that are known here and have signed it. `imported_from`: what the bundle tells."""

    model: str = ""
    sla: str = ""
    signatures: tuple[str, ...] = ()
    imported_from: dict[str, Any] = {}


class ModelView(View):
    """A model: its SLA, which versions its aliases name, its active rollout, how far its labels are."""

    model: str
    pool: str = "default"
    aliases: dict[str, int] = {}
    sla: Sla | None = None
    rollout: str | None = None
    watermark_ms: int | None = None
    signed_by: tuple[str, ...] = ()
    etag: str = ""
    """To give to the write that is to change just this (`if_match`)."""


class AlertView(View):
    """An alert of a monitor. `raised_at`, `resolved_at`: wall time, Unix seconds; None while it lasts."""

    alert: HealthAlert
    raised_at: float
    resolved_at: float | None = None


class HealthView(View):
    """What monitors say of a model's stable version; alerts that last come first.

    `previous`: the version that `rollback` makes stable again."""

    model: str
    stable: int | None = None
    previous: int | None = None
    looked_at: float | None = None
    alerts: tuple[AlertView, ...] = ()


class WeightsLine(View):
    """One setting of a model's ranking weights. `at`: Unix seconds."""

    number: int
    weights: Weights
    reason: str = ""
    actor: str = ""
    at: float | None = None


class WeightsView(View):
    """Task -> exponent of its probability in a ranking score; {}: every task counts once.

    `number`: of the setting in force, 0 when there was none. `history`: the newest first."""

    model: str
    number: int = 0
    weights: Weights = {}
    history: tuple[WeightsLine, ...] = ()
    etag: str = ""


class Refusal(View):
    """A row that was not accepted, and why."""

    row: int
    why: str


class LabelsAnswer(View):
    """Labels accepted (on disk before the answer), and the rows that were refused.

    `more_refused`: how many more were refused than one answer lists."""

    accepted: int
    refused: tuple[Refusal, ...] = ()
    more_refused: int = 0


class Answer(View):
    """What the model answered: `outputs`: task -> one item a row: the probability, the number of a regression task, or
    of a multiclass task the list of its classes' probabilities.

    `versions`: task -> version that was to answer; `fallbacks`: task -> what stood in for it, if anything did.
    `id`: the request's id (UUIDv7), which labels refer to."""

    id: str
    model: str
    arm: str = ""
    epoch: int = 0
    rollout: str = ""
    outputs: dict[str, list[Any]] = Field(default_factory=dict)
    versions: dict[str, int] = Field(default_factory=dict)
    fallbacks: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, body: dict[str, Any]) -> Answer:
        """From an answer of the Open Inference Protocol v2."""
        common, outputs = body.get("parameters") or {}, body["outputs"]
        said = {output["name"]: output.get("parameters") or {} for output in outputs}
        return cls(
            id=body["id"],
            model=body["model_name"],
            arm=common.get("arm") or "",
            epoch=common.get("epoch") or 0,
            rollout=common.get("rollout") or "",
            outputs={output["name"]: _rows(output["data"], output.get("shape") or ()) for output in outputs},
            versions={task: its["version"] for task, its in said.items() if "version" in its},
            fallbacks={task: its["fallback"] for task, its in said.items() if its.get("fallback")},
        )


def _rows(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """One item a row: flat values of a shape [n, k] are cut into rows."""
    if len(shape) < 2 or not shape[1] or (data and isinstance(data[0], list)):
        return data
    return [data[at : at + shape[1]] for at in range(0, len(data), shape[1])]


class Ranked(View):
    """One candidate: `index`: its place in the request, which its labels name; `tasks`: task -> its answer."""

    index: int
    score: float
    tasks: dict[str, Any]
    item: str | None = None


class Ranking(View):
    """Candidates, the best first. `weights`: what they were ranked by; `epoch`: of the table that they came from.

    `ignored`: tasks that have a weight but are not served. `versions`, `fallbacks`, `id`: as in `Answer`."""

    id: str
    model: str
    arm: str = ""
    epoch: int = 0
    rollout: str = ""
    candidates: tuple[Ranked, ...] = ()
    weights: dict[str, float] = Field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    versions: dict[str, int] = Field(default_factory=dict)
    fallbacks: dict[str, str] = Field(default_factory=dict)

    @classmethod
    def of(cls, body: dict[str, Any]) -> Ranking:
        """From the answer of `rank`."""
        plain, said = Answer.of(body), body.get("parameters") or {}
        index, items = body["index"], body.get("items") or [None] * len(body["index"])
        return cls(
            id=said.get("request_id") or plain.id,
            model=plain.model,
            arm=plain.arm,
            epoch=plain.epoch,
            rollout=plain.rollout,
            candidates=tuple(
                Ranked(
                    index=place,
                    score=body["scores"][at],
                    tasks={task: values[at] for task, values in plain.outputs.items()},
                    item=items[at],
                )
                for at, place in enumerate(index)
            ),
            weights=said.get("weights") or {},
            ignored=tuple(said.get("weights_ignored") or ()),
            versions=plain.versions,
            fallbacks=plain.fallbacks,
        )


@dataclass(frozen=True, slots=True)
class Label:
    """What became known about one task of one row. `known_ms`: event time (Unix ms) at which; None: now.

    `join_key`, `event_time_ms`: those of the request, for a caller that gave it these; `id` is "" then."""

    id: str
    task: str
    value: float
    index: int = 0
    known_ms: int | None = None
    join_key: str = ""
    event_time_ms: int | None = None

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"id": self.id, "index": self.index, "task": self.task, "value": self.value}
        more = {"known_ms": self.known_ms, "join_key": self.join_key or None, "event_time_ms": self.event_time_ms}
        return {**row, **{name: value for name, value in more.items() if value is not None}}
