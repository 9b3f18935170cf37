"""The checks of raw inputs: counts by hour against the baseline and the limits of the SLA. Pure.

Shares are judged over the newest hours that hold enough rows, divergences over whole days: one hour of a day is never
like all of them. Rows come in clusters (one user, one storm), so they count as a quarter of themselves: a share must be
beyond its limit, and its Wilson bound (z = 4) above what the baseline had; a divergence must be beyond its limit and
what chance adds to it ((bins - 1) (1/n + 1/N)). And entities of enough groups must have rows: one user is no stream.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from monitors.drift import jensen_shannon, psi, quantiles, shares_of
from monitors.gauges import MISSING, ODD, ROWS, UNKNOWN, Gauge, Layout
from monitors.spells import Distinct, unmoved_hours
from serinus.baseline import InputBaseline
from serinus.evidence import InputEvidence

__all__ = ["CLUSTER", "LEAST_GROUPS", "Checked", "Seen", "check"]

Counts = NDArray[np.int64]
CheckName = Literal["missing", "unseen", "out_of_range", "distribution", "stale", "unknown"]

HOUR_MS = 3_600_000
DAY_H = 24
CLUSTER = 4.0
"""So many rows tell as much as one independent row."""
SURE_Z = 4.0
WANDERS = 3.0
"""Times as far as its own days were from the whole, a healthy stream may be from the baseline."""
LEAST_GROUPS = 15
LEAST_HOUR_ROWS = 20
MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """What was counted, by event hour; see `monitors.inputs.InputState`."""

    hours: Mapping[int, NDArray[np.uint32]]
    groups: Mapping[int, NDArray[np.uint64]]
    values: Mapping[tuple[int, int, int], Distinct]
    first_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """One check. `beyond`: it is surely beyond its limit; `from_ms`: event time from which on it was looked at;
    `near`: value / limit; `window_s`: of event time that it speaks of."""

    evidence: InputEvidence
    beyond: bool
    from_ms: int
    near: float
    window_s: int

    @property
    def key(self) -> str:
        told = self.evidence
        version = "" if told.version is None else f" of version {told.version}"
        length = f" / {self.window_s // 3_600} h" if told.check == "distribution" else ""
        return f"{told.input} / {told.slice} / {told.check}{version}{length}"

    def since(self, at_ms: int | None) -> Checked:
        return replace(self, evidence=self.evidence.model_copy(update={"since_ms": at_ms}))


@dataclass(frozen=True, slots=True)
class _Window:
    """Counts of some hours together, (places, columns); `hours`: how many; `start_ms`: event time of the first."""

    counts: Counts
    groups: NDArray[np.uint64]
    hours: int
    start_ms: int


def check(layout: Layout, seen: Seen, tick_ms: int, kept_h: int = DAY_H) -> tuple[Checked, ...]:
    """All that is beyond its limit, the farthest first, then of each other input the check that is nearest to it."""
    last = (tick_ms - 1) // HOUR_MS
    hours = [hour for hour in sorted(seen.hours) if hour <= last]
    lengths = sorted({DAY_H, kept_h})
    windows = {h: _window(layout, seen, [hour for hour in hours if hour > last - h]) for h in lengths}
    recent = [_window(layout, seen, hours[-n:]) for n in _steps(hours, last)]
    beyond: list[Checked] = []
    nearest: dict[tuple[str, int | None], Checked] = {}
    for number, gauge in enumerate(layout.gauges):
        for place in range(len(layout.places)):
            spot = _Spot(layout, gauge, number, place)
            for found in spot.checks(seen, recent, windows, last):
                if found.beyond:
                    beyond.append(found)
                elif not place:
                    known = nearest.get((gauge.name, found.evidence.version))
                    if known is None or found.near > known.near:
                        nearest[gauge.name, found.evidence.version] = found
    beyond.sort(key=lambda each: (not each.evidence.holds, -each.near, each.key))
    bad = {(each.evidence.input, each.evidence.version) for each in beyond}
    fine = [each for key, each in sorted(nearest.items(), key=lambda item: item[1].key) if key not in bad]
    return tuple([*beyond, *fine][:MOST_SHOWN])


@dataclass(frozen=True, slots=True)
class _Spot:
    """One input in one place. `number`: of its gauge; `place`: its row in the counts."""

    layout: Layout
    gauge: Gauge
    number: int
    place: int

    @property
    def told(self) -> InputBaseline | None:
        return self.layout.references[0].baseline.input(self.gauge.name, self.layout.places[self.place])

    def checks(self, seen: Seen, recent: list[_Window], windows: Mapping[int, _Window], last: int) -> Iterator[Checked]:
        """`recent`: ever more of the newest hours; `windows`: length in hours -> the newest ones; `last`: now."""
        if not recent:
            return
        window = next((each for each in recent if self._enough(each)), recent[-1])
        span = last - (last if seen.first_hour is None else seen.first_hour) + 1
        yield from self._shares(window)
        for length, days in windows.items():
            yield from self._divergence(days, length, min(length, span))
        yield from self._stale(seen, sorted(hour for hour in seen.hours if hour <= last))

    def _enough(self, window: _Window) -> bool:
        rows, bits = int(window.counts[self.place, self.gauge.base + ROWS]), int(window.groups[self.place])
        return rows >= self.gauge.limits.min_rows and bits.bit_count() >= LEAST_GROUPS

    def _shares(self, window: _Window) -> Iterator[Checked]:
        gauge, limits, told = self.gauge, self.gauge.limits, self.told
        counts = window.counts[self.place, gauge.base : gauge.base + gauge.width]
        rows, missing, odd = (int(counts[at]) for at in (ROWS, MISSING, ODD))
        present = rows - missing
        lacks = "" if self._enough(window) else f"{rows} rows, {limits.min_rows} needed"
        if told is None and not self.place:
            why = f"baseline.json of version {self.layout.references[0].version} tells nothing of it"
            yield self._made("missing", window, rows, missing / max(rows, 1), 1.0, why=why)
        if told is not None and limits.missing is not None:
            yield self._share("missing", window, (missing, rows), (told.missing, limits.missing), lacks)
        lacks = lacks if present >= limits.min_rows else f"{present} rows with a value, {limits.min_rows} needed"
        if told is not None and told.categories and limits.unseen is not None:
            own = (gauge.told or told).rest
            yield self._share("unseen", window, (odd, present), (own, limits.unseen), lacks)
        if told is not None and np.isfinite(gauge.high) and limits.out_of_range is not None:
            yield self._share("out_of_range", window, (odd, present), (0.0, limits.out_of_range), lacks)
        for at, reference in enumerate(self.layout.references):
            words = reference.words.get(gauge.name)
            if words is not None and limits.unknown is not None:
                own = gauge.unknown_in(reference.baseline.input(gauge.name), words)
                of = int(counts[UNKNOWN + at]), present
                found = self._share("unknown", window, of, (own, limits.unknown), lacks)
                yield replace(found, evidence=found.evidence.model_copy(update={"version": reference.version}))

    def _share(
        self, name: CheckName, window: _Window, of: tuple[int, int], above: tuple[float, float], lacks: str
    ) -> Checked:
        """A share of rows (`of`: so many of so many). `above`: the baseline's, and how much more there may be."""
        own, more = above
        value = of[0] / of[1] if of[1] else 0.0
        beyond = not lacks and value > own + more and _surely(*of) > own
        why = lacks or f"{own:.3g} in the baseline; over {window.hours} h"
        return self._made(name, window, of[1], value, own + more, beyond=beyond, why=why)

    def _divergence(self, days: _Window, length: int, span: int) -> Iterator[Checked]:
        """`length`: hours that `days` is of; `span`: for so many there may have been rows, so far."""
        gauge, limits, told = self.gauge, self.gauge.limits, self.told
        own = gauge.shares(told) if told is not None and gauge.bins else None
        if own is None or told is None or (limits.psi is None and limits.js is None):
            return
        counts = days.counts[self.place, gauge.first_bin : gauge.first_bin + gauge.bins]
        rows, lacks = int(counts.sum()), ""
        if rows < limits.min_rows or not self._enough(days):
            lacks = f"{rows} rows with a value, {limits.min_rows} needed"
        elif span < length:
            lacks = f"{span} of {length} hours so far"
        chance = (len(own) - 1) * (CLUSTER / max(rows, 1) + 1 / max(told.rows, 1))
        live = shares_of(counts)
        apart, bits = float(psi(own, live)), float(jensen_shannon(own, live))
        wander = WANDERS * max(told.wander, gauge.told.wander if gauge.told is not None else 0.0)
        limit = max(limits.psi, wander) + chance if limits.psi is not None else math.inf
        beyond = apart > limit or (limits.js is not None and bits > limits.js + chance / (8 * math.log(2)))
        why = lacks or f"over {length} h; Jensen-Shannon {bits:.3g}; {_shown(gauge, counts, told)}"
        shown = limit if math.isfinite(limit) else max(apart, 1e-9)
        made = self._made("distribution", days, rows, apart, shown, beyond=beyond and not lacks, why=why)
        yield replace(made, window_s=length * 3_600)

    def _stale(self, seen: Seen, hours: list[int]) -> Iterator[Checked]:
        limit_s = self.gauge.stale_s_of(self.told)
        if limit_s is None:
            return
        keys = [(hour, (hour, self.number, self.place)) for hour in hours]
        held = [(hour, seen.values[key]) for hour, key in keys if key in seen.values and self._present(seen, hour)]
        if not held:
            return
        newest = held[-1][0]
        span, share = unmoved_hours([hour for hour, _ in held], [values for _, values in held])
        why = f"{share:.0%} of the newest hour's values were there in every hour of {span} h before" if span else ""
        window = _Window(np.zeros((0, 0), np.int64), np.zeros(0, np.uint64), span, (newest - span) * HOUR_MS)
        beyond, rows = span * 3_600 >= limit_s, self._present(seen, newest)
        yield self._made("stale", window, rows, span * 3_600.0, float(limit_s), beyond=beyond, why=why)

    def _present(self, seen: Seen, hour: int) -> int:
        """Rows of an hour that have a value; 0 where they are too few to tell."""
        counts = seen.hours[hour][self.place]
        rows = int(counts[self.gauge.base + ROWS]) - int(counts[self.gauge.base + MISSING])
        return rows if rows >= LEAST_HOUR_ROWS else 0

    def _made(
        self,
        name: CheckName,
        window: _Window,
        rows: int,
        value: float,
        limit: float,
        *,
        beyond: bool = False,
        why: str = "",
    ) -> Checked:
        told = InputEvidence(
            input=self.gauge.name,
            check=name,
            slice=self.layout.places[self.place],
            rows=rows,
            value=value,
            limit=limit,
            holds=beyond and self.gauge.limits.role == "hold",
            why=why,
        )
        near = value / limit if limit > 0 else math.inf if value > 0 else 0.0
        return Checked(told, beyond, window.start_ms, near, window.hours * 3_600)


def _window(layout: Layout, seen: Seen, hours: list[int]) -> _Window:
    shape = (len(layout.places), layout.width)
    counts, groups = np.zeros(shape, np.int64), np.zeros(shape[0], np.uint64)
    for hour in hours:
        counts += seen.hours[hour]
        groups |= seen.groups[hour]
    span = hours[-1] - hours[0] + 1 if hours else 0
    return _Window(counts, groups, span, hours[0] * HOUR_MS if hours else 0)


def _steps(hours: list[int], last: int) -> list[int]:
    """How many of the newest hours to try, at most those of a day."""
    day = sum(hour > last - DAY_H for hour in hours)
    return sorted({min(n, day) for n in (1, 2, 3, 6, 12, 24)} - {0})


def _surely(count: int, rows: int) -> float:
    """Wilson's lower bound of a share, of rows that come in clusters."""
    n = rows / CLUSTER
    p, z2 = count / rows, SURE_Z**2
    middle = p + z2 / (2 * n)
    return (middle - SURE_Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)


def _shown(gauge: Gauge, counts: Counts, told: InputBaseline) -> str:
    """What moved, in words: quantiles of a number, the categories that gained and lost the most."""
    if not gauge.text and told.numbers is not None and told.low is not None and told.high is not None:
        at = [0.1, 0.5, 0.9]
        before = quantiles(np.array(told.numbers.shares), gauge.edges, told.low, told.high, at)
        now = quantiles(counts, gauge.edges, told.low, told.high, at)
        both = " ".join(f"{a:.4g}>{b:.4g}" for a, b in zip(before, now, strict=True))
        return f"10, 50, 90 % quantiles {both}"
    live = counts / max(1, counts.sum())
    moved = {word: live[gauge.table[gauge.codes[word], 0]] - share for word, share in [*told.categories.items()][:50]}
    most = sorted(moved, key=lambda word: (-abs(moved[word]), word))[:2]
    return ", ".join(f"{word[:40]!r} {moved[word]:+.3f}" for word in most)
