"""The preflight: a candidate is scored on logged requests of the past whose labels are mature, and judged by them.

The runner of jobs of kind "preflight", in a child process of the monitor (one thread a graph, `nice`). Two passes over
the window: which requests there are (`population`), then, step by step of event time, score, join, assess. Killed
anywhere it goes on from what lies in its state folder (`replay_state`), and ends with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from monitors.join import (
    Answers,
    Due,
    Streams,
    combine,
    early_horizons,
    horizons,
    join_answers,
    join_early,
    join_mature,
)
from monitors.log import LogReader
from monitors.packages import executor_of, inputs_read
from monitors.population import Population, differences
from monitors.predictions import Predictions
from monitors.raw_inputs import uniform_of, unique
from monitors.replay_state import HOUR_MS, Progressed, Survey, Window
from monitors.rescoring import Rescorer
from monitors.rows import Tick
from monitors.slices import resolved
from serinus.errors import BadInput
from serinus.evidence import METHOD
from serinus.jobs import Job
from serinus.preflights import Difference, PreflightParams, PreflightResult

__all__ = ["run"]

DAY_MS = 86_400_000
SAVE_EVERY_S = 5.0
SURVEYED = 0.25
"""Of the progress, what the first pass counts for."""
MOST_REASONS = 10
Progress = Callable[[float, str], None]


def run(
    job: Job,
    log: Path,
    state: Path,
    progress: Progress,
    *,
    clock: Callable[[], float] = time.monotonic,
    save_every_s: float = SAVE_EVERY_S,
) -> dict[str, Any]:
    """What a preflight job finds, a `PreflightResult` as JSON. Raises BadInput for parameters that make no sense,
    InvalidPackage when a package is not what it should be, OSError."""
    try:
        params = PreflightParams.model_validate(job.params)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"preflight: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if params.item.method != METHOD:
        raise BadInput(f"the rollout is judged by method {params.item.method}, this monitor knows {METHOD}")
    until_ms = params.until_ms
    if until_ms is None:
        return PreflightResult(why="no label source has said yet up to when it is complete").model_dump(mode="json")
    state.mkdir(parents=True, exist_ok=True)
    reader = LogReader(log, params.item.model, params.item.sla.slice_features)
    params = params.model_copy(update={"item": resolved(params.item, reader, until_ms)})
    replay = Replay(params, reader, state, progress, clock, save_every_s)
    return replay.run(until_ms).model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class Replay:
    """One preflight at work. `clock`: seconds; every `save_every_s` of them the state is written."""

    params: PreflightParams
    reader: LogReader
    state: Path
    progress: Progress
    clock: Callable[[], float]
    save_every_s: float

    def run(self, until_ms: int) -> PreflightResult:
        """`until_ms`: event time to which labels are complete."""
        item, window = self.params.item, Window.of(self.params, until_ms)
        survey = self._survey(window, until_ms)
        found = PreflightResult(
            start_ms=window.start_ms,
            end_ms=window.end_ms,
            requests=survey.requests,
            with_inputs=survey.with_inputs,
            differences=tuple(Difference.model_validate(each) for each in survey.differences),
        )
        if not survey.with_inputs:
            asked = item.sla.serving.inputs_share > 0
            why = "none of them had its inputs logged" if asked else "the SLA has no inputs logged (inputs_share is 0)"
            return found.model_copy(update={"why": why})
        rescorer = self._rescorer()
        read, ours = (inputs_read(each.executor, each.tasks) for each in (rescorer.candidate, rescorer.baseline))
        if hidden := sorted((read | ours) & set(item.sla.serving.inputs_exclude)):
            why = f"the models read {', '.join(hidden)}, which the SLA keeps out of the logs: no comparison is fair"
            return found.model_copy(update={"why": why})
        ended = self._score(window, survey, rescorer)
        return found.model_copy(
            update={
                "evidence": ended.evidence if ended.rows else None,
                "why": "" if ended.rows else "none of its rows could be scored",
                "rows": ended.rows,
                "unusable": dict((+ended.unusable).most_common(MOST_REASONS)),
                "absent": tuple(sorted(read - set(survey.names))),
            }
        )

    def _rescorer(self) -> Rescorer:
        item = self.params.item
        if missing := {item.baseline, item.candidate} - item.packages.keys():
            raise BadInput(f"the job does not say where version {min(missing)} lies")
        baseline, candidate = (executor_of(item.packages[version]) for version in (item.baseline, item.candidate))
        return Rescorer.of(item, baseline, candidate)

    def _survey(self, window: Window, until_ms: int) -> Survey:
        """The first pass. One that was killed begins anew: it only reads."""
        if (known := Survey.read(self.state)) is not None:
            return known
        then, today = Population(), Population()
        spans = [(end_ms - window.step_ms, end_ms, then) for end_ms in window.steps]
        day = range(until_ms - DAY_MS, until_ms, HOUR_MS)
        spans += [(start_ms, min(start_ms + HOUR_MS, until_ms), today) for start_ms in day]
        for number, (start_ms, end_ms, population) in enumerate(spans):
            self.progress(SURVEYED * number / len(spans), "which requests had their inputs logged")
            inputs = unique(self.reader.inputs(start_ms, end_ms)[0])
            answers, _ = self.reader.predictions(start_ms, end_ms)
            population.add(inputs, answers, self.reader.words, self.params.item.sla.tasks)
        apart = [each.model_dump(mode="json") for each in differences(then, today)]
        survey = Survey(then.requests, then.with_inputs, then.rows, sorted(then.names), apart)
        survey.write(self.state)
        return survey

    def _score(self, window: Window, survey: Survey, rescorer: Rescorer) -> Progressed:
        """The second pass, to its end or to the first look that is violated."""
        at = Progressed.read(self.state, self.params.item)
        rescorer.begin(at.rows, at.unusable)
        share = min(1.0, self.params.preflight.max_rows / max(1, survey.rows))
        saved_at, steps = self.clock(), window.steps
        for number, end_ms in enumerate(steps):
            if at.evidence is not None and at.evidence.verdict == "violated":
                break
            if at.assessor.last_tick_ms is not None and end_ms <= at.assessor.last_tick_ms:
                continue
            self.progress(SURVEYED + (1 - SURVEYED) * number / len(steps), f"{rescorer.rows:,} rows scored")
            at.evidence = at.assessor.consume(self._tick(end_ms - window.step_ms, end_ms, share, rescorer))
            at.rows = rescorer.rows
            if self.clock() - saved_at >= self.save_every_s:
                at.write(self.state)
                saved_at = self.clock()
        return at

    def _tick(self, start_ms: int, end_ms: int, share: float, rescorer: Rescorer) -> Tick:
        """Requests of [start, end), scored, and joined with the labels that each task had when they were mature.

        `share`: of the requests, by the hashes of their ids."""
        rows, broken = self.reader.inputs(start_ms, end_ms)
        requests = unique(rows)
        if share < 1:
            requests = [row for row, kept in zip(requests, uniform_of(requests) < share, strict=True) if kept]
        item, words = self.params.item, self.reader.words
        logged, bad = self.reader.predictions(start_ms, end_ms)
        labels, worse = self.reader.labels(start_ms, end_ms)
        scored = rescorer.dressed(requests, logged, words)
        due = Due(Predictions.concat([logged, scored], len(self.reader.slices)), labels, words)
        parts = [
            _as_replay(join(item, tasks, due, end_ms + wait_s * 1000))
            for join, waits in ((join_mature, horizons(item.sla)), (join_early, early_horizons(item.sla)))
            for wait_s, tasks in waits.items()
        ]
        unlabelled = _paired(join_answers(item, scored, words).unlabelled)
        corrupt = tuple(sorted({*broken, *bad, *worse}))
        return combine(end_ms, parts, Answers(unlabelled=unlabelled), corrupt)


def _as_replay(tick: Tick) -> Tick:
    return replace(tick, streams=_paired(tick.streams), early=_paired(tick.early))


def _paired(streams: Streams) -> Streams:
    """The pairs as those of the replay; there is no canary among requests of the past."""
    return {("replay", task): sides for (stream, task), sides in streams.items() if stream == "shadow"}
