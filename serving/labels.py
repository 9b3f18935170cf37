"""Labels as they come, and the desk that takes them: each is checked alone, and on disk before it is acknowledged."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from serinus.errors import BadInput
from serinus.ids import event_ms_of
from serinus.package import Manifest
from serinus.records import LabelRow, encode_row
from serinus.tasks import LARGEST_LABEL, TaskKind
from serving.ask import joined_id
from serving.event_times import EventTimes
from serving.membership import Membership
from serving.recorder import LogWriter, partition_of

MAX_LABELS = 10_000
"""Labels of one JSON call, and refused rows that one answer lists."""
Source = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]


class CompleteTo(msgspec.Struct):
    """A source has sent every label up to then, of `tasks`; of all where it names none."""

    source: Source
    event_ms: Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
    tasks: Annotated[list[Annotated[str, msgspec.Meta(max_length=63)]], msgspec.Meta(max_length=256)] = []


class LabelIn(msgspec.Struct):
    """One label: of a request `id`, or of the request whose caller gave it this join key and event time."""

    task: str
    value: float
    id: str = ""
    join_key: Annotated[str, msgspec.Meta(max_length=256)] = ""
    event_time_ms: int | None = None
    index: int = 0
    known_ms: int | None = None


class Values(msgspec.Struct, frozen=True):
    """What the labels of a task may be. `classes`: how many it has, where it is multiclass."""

    kind: TaskKind = "binary"
    classes: int = 0

    def check(self, value: float) -> None:
        """Raises ValueError that says what was expected."""
        match self.kind:
            case "binary":
                if value not in (0.0, 1.0):
                    raise ValueError(f"value is {value!r}, expected 0 or 1: the task is binary")
            case "regression":
                if not abs(value) <= LARGEST_LABEL:  # also where it is NaN
                    raise ValueError(f"value is {value!r}, expected a number, at most {LARGEST_LABEL:g} from 0")
            case "multiclass":
                if not (0 <= value < self.classes and value.is_integer()):
                    raise ValueError(f"value is {value!r}, expected the place of a class, 0 to {self.classes - 1}")


def values_of(manifests: Iterable[Manifest]) -> dict[str, Values]:
    """task -> what its labels may be, of all versions that are known: the one with the most classes decides."""
    found: dict[str, Values] = {}
    for task in (task for manifest in manifests for task in manifest.tasks):
        known = found.get(task.name, Values(task.kind))
        found[task.name] = Values(known.kind, max(known.classes, len(task.classes)))
    return found


class LabelsIn(msgspec.Struct):
    """A call of /v1/labels in JSON. `labels` are looked at later, one by one."""

    model: str
    labels: msgspec.Raw = msgspec.Raw(b"[]")
    complete_to: CompleteTo | None = None


class NeverAnswered(ValueError):
    """The request of a label is not in the log. It may come: rows are written a few milliseconds after the answer."""


class Refused(msgspec.Struct):
    row: int
    why: str


@dataclass(slots=True)
class Job:
    """One call. `tasks`: those of the model's versions, with what their labels may be; `times`: which event times it
    may use.

    `sampled`: a label of a request that is not in the log is taken and dropped: it may have been answered.

    `more_refused`: rows that were refused after `refused` was full. `unsure`: (row, label) of requests that are not in
    the log yet."""

    model: str
    tasks: Mapping[str, Values]
    times: EventTimes
    sampled: bool = False
    accepted: int = 0
    refused: list[Refused] = field(default_factory=list)
    more_refused: int = 0
    unsure: list[tuple[int, Any]] = field(default_factory=list)

    def refuse(self, row: int, why: str) -> None:
        if len(self.refused) < MAX_LABELS:
            self.refused.append(Refused(row, why[:300]))
        else:
            self.more_refused += 1


_calls = msgspec.json.Decoder(LabelsIn)
_label = msgspec.json.Decoder(LabelIn)


def parse_labels(body: bytes) -> LabelsIn:
    """The call in `body`, with labels that nobody has looked at. Raises BadInput."""
    try:
        call = _calls.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not a call of /v1/labels: {error}") from error
    if not bytes(call.labels).lstrip().startswith(b"["):
        raise BadInput("the body is not a call of /v1/labels: labels is no array")
    return call


class LabelDesk:
    """Writes the labels of one writer. For one thread; what `write` took is on disk once `sync` has returned."""

    def __init__(self, root: Path, writer: str) -> None:
        self._writer = LogWriter(root, "labels", writer)
        self._membership = Membership(root)
        self._fresh: set[tuple[str, str]] = set()

    def write(self, job: Job, first_row: int, labels: Iterable[Any]) -> None:
        """Check labels and append the good ones; the job has how many, and what was refused and why.

        `labels`: lines of JSON (bytes) or plain values. `first_row`: the number of the first. Raises OSError."""
        for row, raw in enumerate(labels, first_row):
            if not isinstance(raw, bytes) or raw.strip():
                self._take(job, row, raw, wait=len(job.unsure) < MAX_LABELS)

    def look_again(self, job: Job, wait: bool) -> None:
        """Check once more what was unsure; unless it may `wait` longer, it is refused now. Raises OSError."""
        unsure, job.unsure = job.unsure, []
        for row, raw in unsure:
            self._take(job, row, raw, wait)

    def _take(self, job: Job, row: int, raw: Any, wait: bool) -> None:
        try:
            hour, label = self._checked(job, raw)
        except NeverAnswered as error:
            if wait:
                job.unsure.append((row, raw))
            elif job.sampled:
                job.accepted += 1
            else:
                job.refuse(row, str(error))
            return
        except (ValueError, RecursionError, msgspec.DecodeError) as error:
            job.refuse(row, str(error))
            return
        self._writer.append(job.model, hour, encode_row(label))
        job.accepted += 1

    def sync(self) -> None:
        """Fsync what was written since the last time. Raises OSError: then nothing of it may be acknowledged."""
        self._fresh.clear()
        self._writer.sync()

    def close(self) -> None:
        self._writer.close()

    def _checked(self, job: Job, raw: object) -> tuple[str, LabelRow]:
        """(hour of the prediction, row). Raises ValueError that says why the label is refused."""
        label = _label.decode(raw) if isinstance(raw, bytes) else msgspec.convert(raw, LabelIn)
        if label.task not in job.tasks:
            raise ValueError(f"task {label.task[:64]!r} is unknown, expected one of {', '.join(sorted(job.tasks))}")
        job.tasks[label.task].check(label.value)
        identity, event_ms = _request_of(label)
        known_ms = job.times.now_ms if label.known_ms is None else label.known_ms
        job.times.check(event_ms, "event_time_ms" if label.join_key else "id")
        job.times.check(known_ms, "known_ms")
        hour = partition_of(event_ms)
        rows = self._membership.rows_of(job.model, hour, identity.bytes, self._fresh)
        if not rows:
            raise NeverAnswered(f"request {identity}: it was never answered here")
        if not 0 <= label.index < rows:
            raise ValueError(f"request {identity}: row {label.index} is unknown, it has {rows} rows")
        return hour, LabelRow(identity.bytes, label.index, label.task, label.value, known_ms)


def _request_of(label: LabelIn) -> tuple[uuid.UUID, int]:
    """(Request id, its event time). Raises ValueError."""
    if label.join_key:
        if label.id:
            raise ValueError("id and join_key are both given, expected one of them")
        if label.event_time_ms is None or not 0 <= label.event_time_ms < 1 << 48:
            raise ValueError(f"event_time_ms is {label.event_time_ms}, expected Unix milliseconds beside join_key")
        return joined_id(label.join_key, label.event_time_ms), label.event_time_ms
    try:
        identity = uuid.UUID(label.id)
        event_ms = event_ms_of(identity)
    except ValueError as error:
        raise ValueError(f"id is {label.id[:64]!r}, expected the UUIDv7 of a prediction") from error
    if label.event_time_ms not in (None, event_ms):
        raise ValueError(f"id carries the event time {event_ms}, but event_time_ms is {label.event_time_ms}")
    return identity, event_ms
