"""A page of metrics as Prometheus reads it, and what grew between two readings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Growth", "by_label", "growth", "of", "series"]

LINE = re.compile(r"^(serinus_\w+)\{([^}]*)\} ([-+.0-9eE]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Growth:
    """One series of a counter. `by`: how much it grew, more than 0."""

    name: str
    labels: dict[str, str]
    by: float


def series(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """(Name, labels, value) of each of ours that has labels."""
    return ((name, dict(LABEL.findall(labels)), float(value)) for name, labels, value in LINE.findall(text))


def growth(before: str, after: str) -> list[Growth]:
    """The series that grew from one reading to the next; one that began anew is left out."""
    first = {(name, *sorted(labels.items())): value for name, labels, value in series(before)}
    grown = (
        Growth(name, labels, value - first.get((name, *sorted(labels.items())), 0.0))
        for name, labels, value in series(after)
    )
    return [each for each in grown if each.by > 0]


def of(grown: Iterable[Growth], name: str, model: str) -> Iterator[Growth]:
    return (each for each in grown if each.name == name and each.labels.get("model") == model)


def by_label(grown: Iterable[Growth], *labels: str) -> Counter[str]:
    """Sums, by the values of labels: `timeout in canary`."""
    sums: Counter[str] = Counter()
    for each in grown:
        sums[" in ".join(each.labels.get(label, "") for label in labels)] += round(each.by)
    return sums
