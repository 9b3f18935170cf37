"""A rollout over event time, in columns: what charts are drawn from."""

from __future__ import annotations

from serinus.evidence import Stream, VerdictName
from serinus.guards import Role
from serinus.tasks import Word

__all__ = ["GuardSeries", "Series"]


class GuardSeries(Word):
    """One guard in one stream, a value a look; None where a look did not have it, or had too little to say.

    Numbers are those of `CellEvidence`, to 7 digits; `margin`: the newest one. What is exact is in the looks."""

    name: str
    stream: Stream
    role: Role
    margin: float
    estimate: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    labels: tuple[int | None, ...]
    verdict: tuple[VerdictName | None, ...]


class Series(Word):
    """`GET /v1/rollouts/{id}/series`: columns of equal length, in rising order of `tick_ms` (event time).

    `looks`: how many there are; fewer points than that are evenly chosen. `e` rolls back at `limit`. `names`: of all
    guards of the newest look. `guards`: those that were asked for."""

    rollout: str
    looks: int
    tick_ms: tuple[int, ...]
    e: tuple[float, ...]
    limit: tuple[float, ...]
    verdict: tuple[VerdictName, ...]
    names: tuple[str, ...]
    guards: tuple[GuardSeries, ...] = ()
