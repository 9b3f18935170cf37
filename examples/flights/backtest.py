"""The story of the demo without its traffic: what the monitors would find, and what the controller would then do.

    python -m examples.flights.backtest [2013-04-01 2013-05-01 ...]

All flights are scored by both versions (full shadow traffic), labels come when they became known, and the evidence
is the monitors' own. The canary's part of the evidence is left out: it only adds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from examples.flights.data import DAY_MS, load
from examples.flights.labels import labels
from examples.flights.models import Flights, held_out_table, prepare, scores, train
from monitors.assess import Assessor
from monitors.rows import Scored, Tick
from serinus.archive_rows import entity_hash
from serinus.evidence import Evidence, Stream, WorkItem
from serinus.rollouts import DAY_S
from serinus.sla import Sla

Scores = dict[str, npt.NDArray[np.float32]]
Sides = tuple[Scores, Scores]
"""Of the baseline and of the candidate."""
STARTS = tuple(f"2013-{month:02}-01" for month in range(4, 10))
QUIET_MS = DAY_MS
"""Stable traffic before the first rollout."""


@dataclass(frozen=True)
class Year:
    """What the comparison needs of every flight, in the order of the requests; `known_ms`: NaN where never."""

    event_ms: npt.NDArray[np.int64]
    entity: npt.NDArray[np.uint64]
    slices: npt.NDArray[np.int64]
    labels: dict[str, npt.NDArray[np.float64]]
    known_ms: dict[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, sla: Sla) -> Year:
        flights = load().flights
        truth = labels(flights)
        columns = [flights[name].replace_strict(v, range(len(v)), default=-1) for name, v in sla.slice_lists.items()]
        return cls(
            flights["event_ms"].to_numpy(),
            np.array([entity_hash(entity) for entity in flights["entity"]], np.uint64),
            np.stack([column.cast(pl.Int64).to_numpy() for column in columns], axis=1),
            {task: truth[task].cast(pl.Float64).to_numpy() for task in sla.tasks},
            {task: truth[f"{task}_known_ms"].cast(pl.Float64).to_numpy() for task in sla.tasks},
        )

    def mature(self, sla: Sla, task: str) -> npt.NDArray[np.float64]:
        """The labels as they count when their window is over: NaN where there is none."""
        terms = sla.tasks[task]
        window_ms = terms.label_window_s * 1000
        value = np.where(self.known_ms[task] <= self.event_ms + window_ms, self.labels[task], np.nan)
        if terms.absent == "negative":
            value = np.where(value == 1, 1.0, 0.0)
        if terms.given_task is not None:
            other, wanted = terms.given_task
            value = np.where(self.mature(sla, other) == wanted, value, np.nan)
        return value


@dataclass(frozen=True)
class End:
    """How a comparison ended: "promoted", "rolled back" or "undecided"; flights requested until then."""

    word: str
    at_ms: int
    flights: int
    evidence: Evidence | None


def ticks(year: Year, sla: Sla, sides: Sides, start_ms: int, end_ms: int) -> Iterator[Tick]:
    """The rows that become mature at each tick until `end_ms`, of the requests from `start_ms` on."""
    step, values = sla.tick_s * 1000, {task: year.mature(sla, task) for task in sla.tasks}
    for tick_ms in range(start_ms - start_ms % step + step, end_ms, step):
        streams: dict[tuple[Stream, str], tuple[Scored, Scored]] = {}
        for task in sla.tasks:
            due = tick_ms - sla.horizon_s(task) * 1000
            first, last = np.searchsorted(year.event_ms, [max(start_ms, due - step), max(start_ms, due)])
            at = np.arange(first, last)[~np.isnan(values[task][first:last])]
            common = year.event_ms[at], year.entity[at], values[task][at]
            pair = [Scored(*common, side[task][at].astype(np.float64), year.slices[at]) for side in sides]
            streams["shadow", task] = (pair[0], pair[1])
        firsts = [int(a.event_ms.min()) for a, _ in streams.values() if len(a)]
        yield Tick(tick_ms, streams, {}, {}, min(firsts, default=None))


def compare(year: Year, sla: Sla, sides: Sides, start_ms: int) -> End:
    """Roll out the candidate from `start_ms` on, by the SLA's plan."""
    plan = sla.rollout
    item = WorkItem(
        rollout="backtest",
        model=sla.model,
        sla=sla,
        baseline=1,
        candidate=2,
        alpha=plan.alpha,
        started_event_ms=start_ms,
    )
    assessor, evidence = Assessor(item), None
    end_ms = min(start_ms + plan.max_duration_s * 1000, int(year.event_ms[-1]) + DAY_MS)
    holds = [plan.shadow_hold_s, *(step.hold_s for step in plan.steps), plan.bake_s]
    phase, since, word = 0, start_ms, "undecided"
    for tick in ticks(year, sla, sides, start_ms, end_ms):
        evidence = assessor.consume(tick)
        if evidence.verdict == "violated":
            word = "rolled back"
            break
        last = phase == len(holds) - 2
        ready = evidence.begun if phase == 0 else evidence.verdict == "satisfied" or phase == len(holds) - 1
        whole = tick.tick_ms - (evidence.first_event_ms or tick.tick_ms) >= plan.cycle_s * 1000
        if tick.tick_ms - since >= holds[phase] * 1000 and ready and (whole or not last):
            if phase == len(holds) - 1:
                word = "promoted"
                break
            phase, since = phase + 1, tick.tick_ms
    at_ms = evidence.tick_ms if evidence else end_ms
    first, after = np.searchsorted(year.event_ms, [start_ms, at_ms])
    return End(word, at_ms, int(after - first), evidence)


def story(year: Year, sla: Sla, by_version: dict[str, Scores], start: datetime) -> Iterator[str]:
    """What happens from `start` on, a line a rollout."""
    start_ms = int(start.timestamp() * 1000) + QUIET_MS
    first = compare(year, sla, (by_version["1"], by_version["2"]), start_ms)
    yield _line("2 over 1", first, start_ms)
    for name in ("3", "3 without defect"):
        then = compare(year, sla, (by_version["2"], by_version[name]), first.at_ms)
        yield _line(f"{name} over 2", then, start_ms)


def _line(name: str, end: End, start_ms: int) -> str:
    days = (end.at_ms - start_ms) / 1000 / DAY_S
    text = f"  {name:24} {end.word:12} after {days:5.1f} days in all, {end.flights:7,} flights"
    if end.evidence is None:
        return text
    text += f", E = {end.evidence.e:.3g}"
    return text + (f"; {', '.join(end.evidence.culprits)}" if end.evidence.culprits else "")


def decisive(sla: Sla) -> Sla:
    """The SLA without what is only shown, for speed."""
    return sla.model_copy(update={"guards": tuple(guard for guard in sla.guards if guard.role != "display")})


def packages(flights: Flights, folder: Path) -> dict[str, Path]:
    """All four packages, trained into `folder`."""
    wanted = {"1": (1, True), "2": (2, True), "3": (3, True), "3 without defect": (3, False)}
    return {
        name: train(version, flights, folder / name.replace(" ", "-"), defect=defect)
        for name, (version, defect) in wanted.items()
    }


def main(starts: list[str]) -> None:
    sla = decisive(Sla.from_yaml((Path(__file__).parent / "sla.yaml").read_text()))
    flights, year = prepare(load()), Year.of(sla)
    with tempfile.TemporaryDirectory() as folder:
        made = packages(flights, Path(folder))
        print(held_out_table(flights, list(made.values()), datetime(2013, 4, 1, tzinfo=UTC)), flush=True)
        by_version = {name: scores(package, flights.rows) for name, package in made.items()}
    for start in starts or STARTS:
        print(start, flush=True)
        for line in story(year, sla, by_version, datetime.fromisoformat(start).replace(tzinfo=UTC)):
            print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
