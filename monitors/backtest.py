"""Today's guards over logs of past weeks: what they would have rolled back, rightly and wrongly, and when.

A job of kind `backtest`. Parameters: `sla`, `watermark_ms`, `rollouts` (the controller fills them in); `weeks`,
`inject` (see `monitors.injection`), `starts` (days from which a rollout begins), `repeats` (of each that is no worse,
with other noise), `days` (of each run), `tick_s` (event time between two looks).

Everything but the rows' clothes is real: the join, the cells, the judgement. Runs overlap in time, so they are not
independent, and bounds on their counts are the narrower for it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import Field, ValidationError
from scipy.special import logit
from scipy.stats import beta

from monitors.assess import Assessor
from monitors.follower import read_tick
from monitors.injection import damages_of, parse
from monitors.job_child import Progress
from monitors.log import LogReader
from monitors.plan_params import PastParams
from monitors.rehearsal import DAY_MS, Cast, Past, Rehearsal
from monitors.shares import RATES
from monitors.survey import LEAST_PAIRS, PRIOR_CORRELATION, Survey, closed, complete_to, item_of, survey
from serinus.errors import BadInput
from serinus.evidence import CellEvidence, Evidence
from serinus.jobs import Job
from serinus.sla import Sla
from serinus.tasks import Word

__all__ = ["BacktestParams", "Outcome", "Scenario", "false_bound", "play", "run"]

SURVEYED = 0.1
"""Part of the work that the survey is, for the bar."""
LEAST_P = 1e-6
CANARY_BP = 1_000


class BacktestParams(Word):
    """See the module."""

    sla: Sla
    stable: int | None = None
    watermark_ms: int | None = None
    rollouts: tuple[PastParams, ...] = ()
    base_rates: dict[str, float] = {}
    weeks: Annotated[float, Field(gt=0, le=52)] = 4.0
    inject: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    starts: Annotated[int, Field(ge=1, le=100)] = 4
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    days: Annotated[float, Field(gt=0, le=366)] | None = None
    tick_s: Annotated[int, Field(ge=60, le=86_400)] | None = None
    seed: int = 0


class Outcome(Word):
    """One run. `days`: event time until it was rolled back, else to its end; `labels`: used until then; `judged`: some
    cell of labels had enough to say anything; `satisfied_days`: until all required guards were satisfied at once."""

    scenario: str
    start_ms: int
    seed: int
    rolled_back: bool
    judged: bool
    days: float
    labels: int
    e: float
    culprits: tuple[str, ...] = ()
    satisfied_days: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """`null`: the candidate is no worse, so every rollback is a false one."""

    name: str
    null: bool
    cast: Cast


def run(job: Job, log: Path, state: Path, progress: Progress) -> dict[str, Any]:
    """Runs that are done lie in `state`, one file each. Raises BadInput where nothing is logged."""
    try:
        params = BacktestParams.model_validate(job.params)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    model = params.sla.model
    end_ms = complete_to(log, model, params.watermark_ms, int(time.time() * 1000))
    if end_ms is None:
        raise BadInput(f"nothing is known of the labels of {model}: nobody has said how far they are")
    reader = LogReader(log, model, params.sla.slice_features)
    params = params.model_copy(update={"sla": closed(params.sla, reader, end_ms)})
    sla = _sla(params)
    injections = [parse(text, sla) for text in params.inject]
    pasts = tuple(Past(each.id, each.baseline, each.candidate) for each in params.rollouts)
    window = (end_ms - int(params.weeks * 7 * DAY_MS), end_ms)
    seen = survey(reader, sla, window, pasts, lambda done, said: progress(SURVEYED * done, said))
    if not any(each.days for each in seen.tasks.values()):
        raise BadInput(f"no mature label of {sla.model} lies in the last {params.weeks:g} weeks")
    noise = _noise(seen, sla)
    scenarios = [*_nulls(params, seen, sla, noise, pasts)]
    for injection in injections:
        cast = _cast(params, sla, noise)
        damages = damages_of(injection, seen, sla)
        scenarios += [Scenario(injection.text, False, replace(cast, damages=damages, canary_bp=CANARY_BP))]
    planned = [(scenario, start) for scenario in scenarios for start in _starts(params, window)]
    outcomes = []
    for number, (scenario, start_ms) in enumerate(planned):
        done = SURVEYED + (1 - SURVEYED) * number / len(planned)
        progress(done, f"run {number + 1} of {len(planned)}: {scenario.name}")
        until = min(start_ms + int(_run_days(params) * DAY_MS), end_ms)
        outcomes.append(_once(state, params, scenario, (start_ms, until), reader))
    return _report(params, sla, scenarios, outcomes, window)


def _sla(params: BacktestParams) -> Sla:
    """Looks at most once an hour, unless asked: fewer looks find nothing that more would not have found later."""
    tick_s = params.tick_s or max(params.sla.tick_s, 3_600)
    if 86_400 % tick_s:
        raise BadInput(f"tick_s is {tick_s}: a day must be a whole number of ticks")
    return params.sla.model_copy(update={"tick_s": tick_s})


def _noise(seen: Survey, sla: Sla) -> dict[str, float]:
    """Standard deviation of each version's own noise, so that two versions' scores are as alike as measured (or .95):
    a spread of v and noise of s^2 on both correlate by v / (v + s^2)."""
    sizes = {}
    for name, task in seen.tasks.items():
        if len(task.p) and sla.tasks[name].kind != "multiclass":
            p = task.p
            spread = logit(p.clip(LEAST_P, 1 - LEAST_P)).std() if sla.tasks[name].kind == "binary" else p.std()
            alike = min(max(task.correlation or PRIOR_CORRELATION, 0.3), 0.999)
            sizes[name] = float(spread * math.sqrt((1 - alike) / alike))
    return sizes


def _cast(params: BacktestParams, sla: Sla, noise: dict[str, float]) -> Cast:
    binary = frozenset(name for name, task in sla.tasks.items() if task.kind == "binary")
    return Cast(seed=params.seed, noise=noise, binary=binary, canary_bp=5_000)


def _nulls(
    params: BacktestParams, seen: Survey, sla: Sla, noise: dict[str, float], pasts: Sequence[Past]
) -> Iterable[Scenario]:
    """Stable against itself, half of the entities in the canary; and two versions whose names are swapped."""
    cast = _cast(params, sla, noise)
    for repeat in range(params.repeats):
        yield Scenario("twin", True, replace(cast, seed=params.seed + repeat))
    if seen.pairs >= LEAST_PAIRS:
        for repeat in range(params.repeats):
            yield Scenario("swap", True, Cast(seed=params.seed + repeat, mode="swap", pasts=tuple(pasts)))


def _run_days(params: BacktestParams) -> float:
    whole = params.weeks * 7
    return min(params.days or max(whole / 2, 1.0), whole)


def _starts(params: BacktestParams, window: tuple[int, int]) -> list[int]:
    """Begins of runs, evenly over the time that lets each of them have its days."""
    room = max(0.0, params.weeks * 7 - _run_days(params)) * DAY_MS
    count = params.starts if room else 1
    return [window[0] + int(room * at / max(count - 1, 1)) for at in range(count)]


def _once(state: Path, params: BacktestParams, scenario: Scenario, span: tuple[int, int], reader: LogReader) -> Outcome:
    """Play a run, or read how it went the last time."""
    key = [scenario.name, scenario.cast.seed, *span, _sla(params).model_dump_json()]
    path = state / f"run-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"
    if path.exists():
        return Outcome.model_validate_json(path.read_text())
    outcome = play(_sla(params), scenario, span, reader)
    beside = path.with_suffix(".new")
    beside.write_text(outcome.model_dump_json())
    beside.replace(path)
    return outcome


def play(sla: Sla, scenario: Scenario, span: tuple[int, int], reader: LogReader) -> Outcome:
    """One rollout over the logs of `span` (event time, Unix ms), until it is rolled back or the span ends."""
    start_ms, end_ms = span
    item = item_of(sla, start_ms, sla.rollout.live_alpha)
    if scenario.cast.mode == "twin":
        item = item.model_copy(update={"shadow": True})
    rehearsal, assessor = Rehearsal(reader, scenario.cast, start_ms), Assessor(item)
    step = sla.tick_s * 1000
    at, satisfied = start_ms // step * step, None
    evidence: Evidence | None = None
    most = 0.0
    while at + step <= end_ms:
        evidence = assessor.consume(read_tick(item, rehearsal, at, at + step))
        at += step
        most = max(most, evidence.e)
        if satisfied is None and evidence.verdict == "satisfied":
            satisfied = (at - start_ms) / DAY_MS
        if evidence.verdict == "violated":
            break
    return Outcome(
        scenario=scenario.name,
        start_ms=start_ms,
        seed=scenario.cast.seed,
        rolled_back=evidence is not None and evidence.verdict == "violated",
        judged=evidence is not None and any(_judges(cell) for cell in evidence.cells),
        days=(at - start_ms) / DAY_MS,
        labels=evidence.counts.get("labels_used", 0) if evidence else 0,
        e=most,
        culprits=evidence.culprits if evidence else (),
        satisfied_days=satisfied,
    )


def _judges(cell: CellEvidence) -> bool:
    return cell.metric not in RATES and cell.weight > 0 and cell.estimate is not None


def false_bound(count: int, of: int, level: float = 0.95) -> float:
    """The largest rate under which so few of so many still happen with probability 1 - level (Clopper and Pearson)."""
    return 1.0 if count >= of else float(beta.ppf(level, count + 1, of - count))


def _report(
    params: BacktestParams,
    sla: Sla,
    scenarios: Sequence[Scenario],
    outcomes: Sequence[Outcome],
    window: tuple[int, int],
) -> dict[str, Any]:
    named = {scenario.name: scenario.null for scenario in scenarios}
    lines = [_line(name, null, [each for each in outcomes if each.scenario == name]) for name, null in named.items()]
    wrong = [each for each in outcomes if named[each.scenario] and each.judged]
    false = sum(each.rolled_back for each in wrong)
    return {
        "model": sla.model,
        "start_ms": window[0],
        "end_ms": window[1],
        "run_days": _run_days(params),
        "tick_s": sla.tick_s,
        "alpha": sla.rollout.live_alpha,
        "false_rollbacks": {"count": false, "of": len(wrong), "at_most": false_bound(false, len(wrong))},
        "scenarios": lines,
        "runs": [each.model_dump(mode="json") for each in outcomes],
    }


def _line(name: str, null: bool, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    judged = [each for each in outcomes if each.judged]
    found = [each for each in judged if each.rolled_back]
    satisfied = [each.satisfied_days for each in judged if each.satisfied_days is not None]
    culprits: dict[str, int] = {}
    for each in found:
        for culprit in each.culprits:
            culprits[culprit] = culprits.get(culprit, 0) + 1
    return {
        "name": name,
        "null": null,
        "runs": len(outcomes),
        "judged": len(judged),
        "rolled_back": len(found),
        "days": [min(d), median(d), max(d)] if (d := [each.days for each in found]) else None,
        "labels": int(median(each.labels for each in found)) if found else None,
        "satisfied": len(satisfied),
        "satisfied_days": median(satisfied) if satisfied else None,
        "culprits": dict(sorted(culprits.items(), key=lambda pair: -pair[1])[:10]),
    }
