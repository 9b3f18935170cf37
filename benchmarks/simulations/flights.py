"""The real year: a null by coins, twins, a better version, a broken origin, a shuffled head, from many dates.

Null: the names of two models are swapped by a coin per day, or per 3 days, so that the true difference is exactly 0. It
runs in a stream that has all of alpha. The rest runs as a rollout's shadow does, by the plan of the example's SLA: task
cells have .7 of their weight there, as the canary, whose part is left out, has the other .3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.report import Table
from benchmarks.simulations.bounds import at_most, between
from benchmarks.simulations.scores import Sides, scored, year_of
from benchmarks.simulations.trial import FIRST_SEED, Outcome, Trial, item_of, roll
from examples.flights.backtest import Year, compare, decisive, ticks
from examples.flights.data import DAY_MS
from monitors.rows import Tick
from serinus.sla import Sla

__all__ = ["CASES", "NULLS", "run", "tables", "trials"]

SLA_FILE = Path(__file__).parents[2] / "examples" / "flights" / "sla.yaml"
FIRST, LAST_NULL, LAST = "2013-04-05", "2013-12-11", "2013-10-30"
NULL_DAYS = 14


@dataclass(frozen=True)
class Null:
    """Two models whose names are swapped on half of the periods of `days`; a look every `tick_s`."""

    pair: tuple[str, str]
    days: int
    tick_s: int


@dataclass(frozen=True)
class Case:
    """`page`: (word, its count, of how many, flights until then: median, p90) that the design gives."""

    pair: tuple[str, str]
    page: tuple[str, int, int, int | None, int | None]


_PAIRS = (("1", "2"), ("2", "3 without defect"), ("1", "3 without defect"))
NULLS = {
    f"{a} and {b}, coin per {days} d, looks every {tick_s // 3600} h": Null((a, b), days, tick_s)
    for (a, b), days, tick_s in (
        *((pair, days, 21_600) for pair in _PAIRS for days in (1, 3)),
        (_PAIRS[0], 1, 3_600),
    )
}
CASES = {
    "bootstrap twins": Case(("twin 1", "twin 2"), ("rolled back", 1, 108, None, None)),
    "bootstrap twins, others": Case(("twin 2", "twin 3"), ("rolled back", 1, 108, None, None)),
    "a better version": Case(("1", "2"), ("promoted", 54, 54, 19_500, 41_760)),
    "a broken origin": Case(("2", "3"), ("rolled back", 54, 54, 12_700, 20_160)),
    "a shuffled head": Case(("2", "2 shuffled"), ("rolled back", 54, 54, 1_200, 8_500)),
}
TICK_S = 21_600


def starts(first: str, last: str, count: int) -> list[str]:
    """Dates, evenly spread."""
    begin, end = (int(np.datetime64(date, "D").astype(np.int64)) for date in (first, last))
    return [str(np.datetime64(int(day), "D")) for day in np.linspace(begin, end, count).round()]


def trials(*, quick: bool) -> list[Trial]:
    nulls, dates = (3, 2) if quick else (40, 50)
    found = [
        Trial(suite="flights", case=case, seed=number, start=start)
        for case, null in NULLS.items()
        if not quick or (null.pair == _PAIRS[0] and null.tick_s == TICK_S)
        for number, start in enumerate(starts(FIRST, LAST_NULL, nulls), FIRST_SEED)
    ]
    found += [
        Trial(suite="flights", case=case, seed=0, start=start) for start in starts(FIRST, LAST, dates) for case in CASES
    ]
    return found


def run(trial: Trial, folder: Path) -> Outcome:
    start_ms = int(np.datetime64(trial.start, "ms").astype(np.int64))
    if trial.case in NULLS:
        return _null(trial, NULLS[trial.case], start_ms, folder)
    sla, year = _sla(TICK_S), _year()
    end = compare(year, sla, scored(folder, CASES[trial.case].pair), start_ms)
    if end.evidence is None:
        raise ValueError(f"no flights from {trial.start} on")
    first = end.evidence.cells[0]
    return Outcome(
        trial=trial,
        word=end.word,
        e=end.evidence.e,
        looks=(end.at_ms - start_ms) // (TICK_S * 1000),
        hours=(end.at_ms - start_ms) / 3_600_000,
        positives=first.positives,
        labels=first.labels,
        requests=end.flights,
        culprits=end.evidence.culprits,
        estimate=first.estimate,
    )


def _null(trial: Trial, null: Null, start_ms: int, folder: Path) -> Outcome:
    sla, year = _sla(null.tick_s), _year()
    coins = np.random.default_rng((trial.seed, null.days)).random(400) < 0.5
    swapped = coins[(year.event_ms - start_ms) // (null.days * DAY_MS)]  # before the start: any coin, never looked at
    a, b = scored(folder, null.pair)
    sides: Sides = (
        {task: np.where(swapped, b[task], a[task]) for task in a},
        {task: np.where(swapped, a[task], b[task]) for task in a},
    )
    looks = ticks(year, sla, sides, start_ms, start_ms + NULL_DAYS * DAY_MS)
    return roll(trial, item_of(sla, start_ms), _alone(looks), replay=True)


def _alone(looks: Iterator[Tick]) -> Iterator[Tick]:
    for tick in looks:
        streams = {("replay", task): sides for (_, task), sides in tick.streams.items()}
        yield Tick(tick.tick_ms, {**streams}, {}, {}, tick.first_event_ms)  # type: ignore[dict-item]


@cache
def _sla(tick_s: int) -> Sla:
    return decisive(Sla.from_yaml(SLA_FILE.read_text())).model_copy(update={"tick_s": tick_s})


@cache
def _year() -> Year:
    return year_of(_sla(TICK_S))


def tables(outcomes: Sequence[Outcome]) -> list[Table]:
    null = Table(
        f"Flights without a difference, {NULL_DAYS} days from each of many dates: E reached 20 at any look",
        ["models", "reached", "of", "at most (95 %)"],
    )
    by_case = {case: [each for each in outcomes if each.trial.case == case] for case in (*NULLS, *CASES)}
    for case, found in by_case.items():
        if case in NULLS and found:
            null.rows.append([case, *_count(found)])
    coarse = [each for case in NULLS if NULLS[case].tick_s == TICK_S for each in by_case[case]]
    if coarse:
        null.rows.append(["all with looks every 6 h", *_count(coarse)])
        null.notes.append(
            "Windows share their storms, so the bound of the last line takes them for more than they are."
        )
    real = Table(
        "Flights, 60 days at most from each of many dates; flights requested until the end",
        ["candidate", "promoted", "rolled back", "of", "its rate (95 %)", "flights median", "p90", "labels median",
         "p90", "the page's", "its flights"],
    )  # fmt: skip
    for case, terms in CASES.items():
        if found := by_case[case]:
            real.rows.append(_row(case, terms, found))
    return [table for table in (null, real) if table.rows]


def _count(found: Sequence[Outcome]) -> tuple[int, int, float]:
    fired = sum(each.word == "rolled back" for each in found)
    return fired, len(found), round(at_most(fired, len(found)), 3)


def _row(case: str, terms: Case, found: Sequence[Outcome]) -> list[str | int | float | None]:
    word, count, of, median, p90 = terms.page
    ended = [each for each in found if each.word == word]
    low, high = between(len(ended), len(found))
    words = [sum(each.word == one for each in found) for one in ("promoted", "rolled back")]
    spread: list[float | None] = [None] * 4
    if ended:
        spread = [
            float(np.quantile([getattr(each, what) for each in ended], q))
            for what in ("requests", "labels")
            for q in (0.5, 0.9)
        ]
    page = f"{count}/{of} {word}"
    return [case, *words, len(found), f"{low:.2f} to {high:.2f}", *spread, page, f"{median or '-'} / {p90 or '-'}"]
