"""The health of what is stable, rollout or not: its quality, its scores and its inputs against `baseline.json`.

Every hour of event time is looked at once, when labels are complete to its end; alerts that are raised then stay until
what they tell of is within its limit again, and no hour of the last day would have raised them: what crosses its limit
at the same hour of every day is one trouble, not one a day. The state is one file; it goes on bit by bit as if it had
never stopped.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from monitors.accumulation_state import under
from monitors.accumulators import State
from monitors.columns import SHADOW
from monitors.follower import read_tick
from monitors.gauges import Layout
from monitors.health_checks import Finding, findings
from monitors.health_counts import HOUR_MS, WEEK_H, HealthCounts, places_of
from monitors.inputs import DAY_H, InputState
from monitors.log import LogReader
from monitors.predictions import Predictions
from monitors.references import Reference, references
from monitors.rehearsal import BASELINE, CANDIDATE, ROLLOUT
from monitors.rows import Scored
from monitors.statefile import digest_of, pack, unpack
from serinus.evidence import HealthAlert, Watched, WorkItem
from serinus.guards import Guard
from serinus.sla import Sla

__all__ = ["Health"]

FORMAT = 1
_DIGEST_BYTES = 64
MOST_ALERTS = 200
CALM_MS = 24 * HOUR_MS


class _Answered(LogReader):
    """A reader that shows the answers of one version, whichever arm they came by, as both sides of a pair."""

    def __init__(self, root: Path, sla: Sla, version: int) -> None:
        super().__init__(root, sla.model, sla.slice_features, cached_rows=200_000)
        self.version = version

    def predictions(self, start_ms: int, end_ms: int) -> tuple[Predictions, tuple[str, ...]]:
        rows, broken = super().predictions(start_ms, end_ms)
        mine = rows.take(rows.version == self.version)
        told = {
            name: np.full(len(mine), value, np.int64)
            for name, value in (("rollout", self.words.number(ROLLOUT)), ("arm", SHADOW))
        }
        sides = [
            mine.changed(**told, version=np.full(len(mine), version, np.int64)) for version in (BASELINE, CANDIDATE)
        ]
        return Predictions.concat(sides, len(self.slices)), broken


@dataclass(slots=True)
class Health:
    """`at_ms`: the last hour looked at (event time, its end); `tasks`: task -> what is kept; `raised`: key -> alert;
    `last_ms`: key -> the end of the last hour that would have raised it."""

    watched: Watched
    sla: Sla
    reference: Reference
    reader: LogReader
    at_ms: int
    tasks: dict[str, HealthCounts]
    inputs: InputState | None
    raised: dict[str, HealthAlert] = field(default_factory=dict)
    last_ms: dict[str, int] = field(default_factory=dict)

    @classmethod
    def start(cls, watched: Watched, log: Path, watermark_ms: int) -> Health:
        """Begin a week before the watermark. `watched`: with an SLA, a stable version and its package."""
        assert watched.sla is not None
        assert watched.stable is not None
        sla, packages = watched.sla, {} if watched.package is None else {watched.stable: watched.package}
        (reference,) = references(packages, (watched.stable,))
        at_ms = max(0, watermark_ms // HOUR_MS - WEEK_H) * HOUR_MS
        tasks = {task: HealthCounts.empty(sla, task, reference.baseline) for task in sla.tasks}
        inputs = InputState(Layout.of(sla, (reference,)), DAY_H) if sla.serving.inputs_share else None
        return cls(watched, sla, reference, _Answered(log, sla, watched.stable), at_ms, tasks, inputs)

    def look(self, watermark_ms: int) -> bool:
        """The next hour, if labels are complete to its end."""
        until_ms = self.at_ms + HOUR_MS
        if until_ms > watermark_ms:
            return False
        tick = read_tick(self._item, self.reader, self.at_ms, until_ms)
        columns = [len(values) for values in self.sla.slice_lists.values()]
        none = (Scored.empty(len(columns)),) * 2
        for task, counts in self.tasks.items():
            labelled, answered = (each.get(("shadow", task), none)[0] for each in (tick.streams, tick.unlabelled))
            counts.add(labelled, answered, columns)
            counts.drop((until_ms - self.sla.horizon_s(task) * 1000) // HOUR_MS - WEEK_H)
        fresh = self._quality(until_ms) | self._inputs(until_ms)
        self.raised = dict(sorted(fresh.items())[:MOST_ALERTS])
        self.last_ms = {key: at for key, at in self.last_ms.items() if key in self.raised}
        self.at_ms = until_ms
        return True

    @property
    def _item(self) -> WorkItem:
        """A rollout that never was. Its guards ask for nothing but all answers, with labels and without."""
        shown = tuple(Guard(task=task, metric="psi", margin=0.25, role="display") for task in self.sla.tasks)
        return WorkItem(
            rollout=ROLLOUT,
            model=self.sla.model,
            sla=self.sla.model_copy(update={"guards": shown}),
            baseline=BASELINE,
            candidate=CANDIDATE,
            alpha=0.05,
            started_event_ms=self.at_ms,
        )

    def _quality(self, until_ms: int) -> dict[str, HealthAlert]:
        found: dict[str, HealthAlert] = {}
        for task, counts in self.tasks.items():
            mature_h = (until_ms - self.sla.horizon_s(task) * 1000) // HOUR_MS
            seen: dict[str, Finding] = {}
            for number, place in enumerate(places_of(self.sla)):
                told = self.reference.baseline.task(task, place)
                if told is None:
                    continue
                for each in findings(counts, number, told, self.sla.health, (until_ms // HOUR_MS, mature_h)):
                    seen[f"{task} / {place} / {each.check} / {each.window_h} h"] = each
            mine = {key for key in self.raised if key.startswith(f"{task} / ")}
            for key in sorted(mine | {key for key, each in seen.items() if each.raises}):
                if (alert := self._alert(key, seen.get(key), until_ms)) is not None:
                    found[key] = alert
        return found

    def _alert(self, key: str, found: Finding | None, until_ms: int) -> HealthAlert | None:
        """The alert as it stands now: raised, kept, or None where it ends. Without data it stays as it was."""
        before = self.raised.get(key)
        if found is None or not found.raises:
            ends = found is not None and found.ends and not self._lately(key, until_ms)
            return None if ends else before
        self.last_ms[key] = until_ms
        task, place, check, _ = key.split(" / ")
        window = {1: "hour", 24: "day", 168: "week"}[found.window_h]
        return HealthAlert(
            key=key,
            model=self.sla.model,
            kind="health",
            text=f"version {self.watched.stable}, {task}, {place}, {check} over the last {window}: {found.text}",
            task=task,
            slice=place,
            window_s=found.window_h * 3_600,
            value=found.value,
            limit=found.limit,
            since_ms=before.since_ms if before is not None else until_ms,
        )

    def _lately(self, key: str, until_ms: int) -> bool:
        """Whether an hour of the last day would have raised it."""
        return until_ms - self.last_ms.get(key, 0) < CALM_MS

    def _inputs(self, until_ms: int) -> dict[str, HealthAlert]:
        if self.inputs is None:
            return {}
        rows, _ = self.reader.inputs(self.at_ms, until_ms)
        self.inputs.add(rows)
        alerts = {}
        for each in self.inputs.judge(until_ms):
            told = each.evidence
            if not told.holds:
                continue
            key = f"input {each.key}"[:300]
            self.last_ms[key] = until_ms
            text = (
                f"input {told.input}, {told.slice}: {told.check} {told.value:.4g}, limit {told.limit:.4g}; {told.why}"
            )
            alerts[key] = HealthAlert(
                key=key,
                model=self.sla.model,
                kind="input",
                text=text[:1_000],
                slice=told.slice,
                input=told.input,
                window_s=each.window_s,
                value=told.value,
                limit=told.limit,
                since_ms=told.since_ms,
            )
        before = {key: alert for key, alert in self.raised.items() if alert.kind == "input"}
        return {key: alert for key, alert in before.items() if self._lately(key, until_ms)} | alerts

    def save(self, path: Path) -> None:
        """Write the state, in one durable replacement of the file."""
        head = {
            "format": FORMAT,
            "of": self._digest,
            "at_ms": self.at_ms,
            "raised": [alert.model_dump(mode="json") for _, alert in sorted(self.raised.items())],
            "last_ms": dict(sorted(self.last_ms.items())),
        }
        arrays: State = {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)}
        for number, task in enumerate(sorted(self.tasks)):
            arrays |= {f"task/{number}/{name}": array for name, array in self.tasks[task].state().items()}
        if self.inputs is not None:
            arrays |= {f"inputs/{name}": array for name, array in self.inputs.state().items()}
        data = pack(arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(digest_of(data).encode() + b"\n" + data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a file. Raises OSError, KeyError, ValueError when it is damaged or of another version."""
        data = path.read_bytes()
        if data[:_DIGEST_BYTES] != digest_of(data[_DIGEST_BYTES + 1 :]).encode():
            raise ValueError(f"{path} is damaged")
        arrays = unpack(data[_DIGEST_BYTES + 1 :])
        head = json.loads(arrays["head"].astype(np.uint8).tobytes())
        if head["format"] != FORMAT or head["of"] != self._digest:
            raise ValueError(f"{path} is of another version, of another SLA or of another format")
        for number, task in enumerate(sorted(self.tasks)):
            self.tasks[task].load(under(arrays, f"task/{number}/"))
        if self.inputs is not None:
            self.inputs = InputState.of_state(self.inputs.layout, under(arrays, "inputs/"))
        alerts = [HealthAlert.model_validate(each) for each in head["raised"]]
        self.raised, self.at_ms = {alert.key: alert for alert in alerts}, int(head["at_ms"])
        self.last_ms = {str(key): int(at) for key, at in head.get("last_ms", {}).items()}

    @property
    def _digest(self) -> str:
        """Of all that the state is of: another stable version, package or SLA begins anew."""
        return digest_of(f"{self.watched.stable} {self.reference.digest} {self.sla.model_dump_json()}".encode())
