"""One rollout of a suite, and how it went."""

from __future__ import annotations

from collections.abc import Iterable

from monitors.assess import Assessor
from monitors.rows import Tick
from serinus.evidence import Evidence, WorkItem
from serinus.sla import Sla
from serinus.tasks import Word

__all__ = ["FIRST_SEED", "Outcome", "Trial", "item_of", "roll"]

FIRST_SEED = 10_000
"""Of each case. What days may do (`monitors.days`) was settled on lower ones, and those tell nothing about it."""


class Trial(Word):
    """`case`: what it shares with others; `seed`: what it does not; `start`: a date of real traffic."""

    suite: str
    case: str
    seed: int
    start: str = ""

    @property
    def key(self) -> str:
        return f"{self.suite}/{self.case}/{self.seed}/{self.start}"


class Outcome(Word):
    """`word`: rolled back, promoted or undecided; `e`: the largest sum at any look; `positives`: of the first cell, in
    the rarer arm, when it ended; `labels`: rows of it; `requests`: sent by then."""

    trial: Trial
    word: str
    e: float
    looks: int
    hours: float
    positives: int
    labels: int
    requests: int = 0
    culprits: tuple[str, ...] = ()
    estimate: float | None = None
    """The first cell's, at the end."""


def item_of(sla: Sla, start_ms: int, alpha: float = 0.05) -> WorkItem:
    return WorkItem(
        rollout="simulated",
        model=sla.model,
        sla=sla,
        baseline=1,
        candidate=2,
        alpha=alpha,
        started_event_ms=start_ms,
    )


def roll(trial: Trial, item: WorkItem, ticks: Iterable[Tick], *, replay: bool = False) -> Outcome:
    """Look at every tick until it is rolled back. `replay`: the stream stands alone, with all of the weight."""
    assessor = Assessor(item, replay=replay)
    evidence: Evidence | None = None
    most, looks = 0.0, 0
    for tick in ticks:
        evidence = assessor.consume(tick)
        most, looks = max(most, evidence.e), looks + 1
        if evidence.verdict == "violated":
            break
    if evidence is None:
        raise ValueError("there was no tick")
    first = evidence.cells[0]
    return Outcome(
        trial=trial,
        word="rolled back" if evidence.verdict == "violated" else "undecided",
        e=most,
        looks=looks,
        hours=(evidence.tick_ms - item.started_event_ms) / 3_600_000,
        positives=first.positives,
        labels=first.labels,
        culprits=evidence.culprits,
        estimate=first.estimate,
    )
