"""The label desk: each label is checked alone, and on disk before it is acknowledged."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from serinus.errors import BadInput, Unavailable
from serinus.ids import event_ms_of
from serinus.records import LabelRow, encode_row
from serving.event_times import EventTimes
from serving.membership import Membership
from serving.recorder import LogWriter, partition_of

MAX_LABELS = 10_000
Source = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]


class CompleteTo(msgspec.Struct):
    source: Source
    event_ms: Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]


class LabelIn(msgspec.Struct):
    id: str
    task: str
    value: float
    index: int = 0
    known_ms: int | None = None


class LabelsIn(msgspec.Struct):
    model: str
    labels: Annotated[list[Any], msgspec.Meta(max_length=MAX_LABELS)] = []
    complete_to: CompleteTo | None = None


class Refused(msgspec.Struct):
    row: int
    why: str


@dataclass(slots=True)
class Job:
    """One call. `tasks`: those of the model's versions; `times`: which event times it may use."""

    model: str
    labels: list[Any]
    tasks: Mapping[str, object]
    times: EventTimes
    accepted: int = 0
    refused: list[Refused] = field(default_factory=list)


_decoder = msgspec.json.Decoder(LabelsIn)


def parse_labels(body: bytes) -> LabelsIn:
    """The call in `body`; its rows are checked later, one by one. Raises BadInput."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not a call of /v1/labels: {error}") from error


class LabelDesk:
    """All files are touched by one thread, which takes every waiting call at once: one fsync serves them all."""

    def __init__(self, root: Path, writer: str) -> None:
        self._writer = LogWriter(root, "labels", writer)
        self._membership = Membership(root)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._waiting: list[tuple[Job, asyncio.Future[None]]] = []
        self._working: asyncio.Task[None] | None = None

    async def accept(self, job: Job) -> None:
        """Check the labels of a call, write the good ones and fsync them. Fills the job in.

        Raises Unavailable when the disk fails: then none of the call is acknowledged."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        await done

    async def close(self) -> None:
        """Finish what waits and close the files."""
        if self._working is not None:
            await self._working
        self._thread.shutdown(wait=True)
        self._writer.close()

    async def _work(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting, []
            failure: Exception | None = None
            try:
                run = asyncio.get_running_loop().run_in_executor
                await run(self._thread, self._commit, [job for job, _done in calls])
            except OSError as error:
                failure = Unavailable(f"labels cannot be written: {error}", "send the same labels again")
            except Exception as error:  # whoever waits must hear of it
                failure = error
            for _job, done in calls:
                if done.done():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
        self._working = None

    def _commit(self, jobs: list[Job]) -> None:
        fresh: set[tuple[str, str]] = set()
        for job in jobs:
            for at, raw in enumerate(job.labels):
                try:
                    hour, row = self._checked(job, raw, fresh)
                except (ValueError, msgspec.ValidationError) as error:
                    job.refused.append(Refused(at, str(error)[:300]))
                    continue
                self._writer.append(job.model, hour, encode_row(row))
                job.accepted += 1
        self._writer.sync()

    def _checked(self, job: Job, raw: object, fresh: set[tuple[str, str]]) -> tuple[str, LabelRow]:
        """(hour of the prediction, row). Raises ValueError that says why the label is refused."""
        label = msgspec.convert(raw, LabelIn)
        if label.task not in job.tasks:
            raise ValueError(f"task {label.task[:64]!r} is unknown, expected one of {', '.join(sorted(job.tasks))}")
        if not math.isfinite(label.value) or label.value not in (0.0, 1.0):
            raise ValueError(f"value is {label.value!r}, expected 0 or 1: the task is binary")
        try:
            identity = uuid.UUID(label.id)
            event_ms = event_ms_of(identity)
        except ValueError as error:
            raise ValueError(f"id is {label.id[:64]!r}, expected the UUIDv7 of a prediction") from error
        known_ms = job.times.now_ms if label.known_ms is None else label.known_ms
        job.times.check(event_ms, "id")
        job.times.check(known_ms, "known_ms")
        hour = partition_of(event_ms)
        rows = self._membership.rows_of(job.model, hour, identity.bytes, fresh)
        if not 0 <= label.index < rows:
            known = f"row {label.index} is unknown, it has {rows} rows" if rows else "it was never answered here"
            raise ValueError(f"request {identity}: {known}")
        return hour, LabelRow(identity.bytes, label.index, label.task, label.value, known_ms)
