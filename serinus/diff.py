"""Two versions of a model side by side: what their makers measured, per task and slice, and what they are made of.

Nothing here judges: training metrics are not evidence, and whether a difference matters is a rollout's question."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import Field

from serinus.baseline import BASELINE, MAX_BASELINE_BYTES, OVERALL
from serinus.errors import InvalidPackage
from serinus.package import Manifest, Precision
from serinus.tasks import Word

__all__ = ["Change", "Difference", "Measured", "Number", "Side", "VersionDiff", "diff_of", "measured_of"]

MAX_TASKS, MAX_PLACES, MAX_METRICS = 256, 512, 32
LARGEST = 1e300
"""NaN and infinity, which Python reads from JSON, are no numbers here."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Measured = dict[str, dict[str, dict[str, Finite]]]
"""Task -> place ("overall" or "origin=EWR") -> metric -> value."""


class Side(Word):
    """One of the two. `size_bytes`: of all files; `resident_bytes`: in memory once loaded."""

    version: int
    digest: str
    size_bytes: int
    resident_bytes: int | None
    precision: Precision
    metrics: Measured = {}


class Number(Word):
    """One metric in one place. None: that version does not tell it. `difference`: new - old."""

    task: str
    slice: str
    metric: str
    old: Finite | None
    new: Finite | None
    difference: Finite | None


class Change(Word):
    """Something that only one of them has, or that both have but not alike. `old`, `new`: it, None where it is not."""

    what: Literal["task", "input", "part"]
    name: str
    change: Literal["added", "removed", "changed"]
    old: dict[str, Any] | None = None
    new: dict[str, Any] | None = None


class Difference(Word):
    """A number of the packages themselves; None: not told."""

    old: int | None
    new: int | None
    difference: int | None


class VersionDiff(Word):
    """`numbers`: every metric that one of them tells, by task, slice (overall first) and metric."""

    model: str
    old: Side
    new: Side
    numbers: tuple[Number, ...]
    changes: tuple[Change, ...]
    size_bytes: Difference
    resident_bytes: Difference
    precision_changed: bool


def diff_of(model: str, old: tuple[Side, Manifest], new: tuple[Side, Manifest]) -> VersionDiff:
    """Pure. The sides of the answer go without their metrics, which `numbers` has."""
    (old_side, old_manifest), (new_side, new_manifest) = old, new
    return VersionDiff(
        model=model,
        old=old_side.model_copy(update={"metrics": {}}),
        new=new_side.model_copy(update={"metrics": {}}),
        numbers=tuple(_numbers(old_side.metrics, new_side.metrics)),
        changes=tuple(_changes(old_manifest, new_manifest)),
        size_bytes=_difference(old_side.size_bytes, new_side.size_bytes),
        resident_bytes=_difference(old_side.resident_bytes, new_side.resident_bytes),
        precision_changed=old_side.precision != new_side.precision,
    )


def measured_of(baseline: bytes) -> Measured:
    """Every number that a package's baseline.json tells of its tasks, whatever it is called.

    Raises InvalidPackage when it is no baseline. What is too much of anything is left out."""
    if len(baseline) > MAX_BASELINE_BYTES:
        raise InvalidPackage(f"{BASELINE} has more than {MAX_BASELINE_BYTES} bytes")
    try:
        told = json.loads(baseline)
        tasks = told.get("tasks", {}) if isinstance(told, dict) else {}
    except (ValueError, RecursionError) as error:
        raise InvalidPackage(f"{BASELINE} is not JSON") from error
    found: Measured = {}
    for task, places in list(tasks.items())[:MAX_TASKS] if isinstance(tasks, dict) else ():
        if isinstance(places, dict):
            slices = places.get("slices")
            told_slices = list(slices.items())[:MAX_PLACES] if isinstance(slices, dict) else []
            found[task] = {OVERALL: _floats(places), **{place: _floats(each) for place, each in told_slices}}
    return found


def _floats(told: Any) -> dict[str, float]:
    if not isinstance(told, dict):
        return {}
    numbers = {
        name: float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST
    }
    return dict(list(numbers.items())[:MAX_METRICS])


def _numbers(old: Measured, new: Measured) -> list[Number]:
    found = []
    for task in sorted({*old, *new}):
        before, after = old.get(task, {}), new.get(task, {})
        for place in sorted({*before, *after}, key=lambda name: (name != OVERALL, name)):
            was, now = before.get(place, {}), after.get(place, {})
            for metric in sorted({*was, *now}):
                a, b = was.get(metric), now.get(metric)
                apart = b - a if a is not None and b is not None else None
                found.append(
                    Number(task=task, slice=place, metric=metric, old=a, new=b, difference=apart)
                    if apart is None or math.isfinite(apart)
                    else Number(task=task, slice=place, metric=metric, old=a, new=b, difference=None)
                )
    return found


def _changes(old: Manifest, new: Manifest) -> list[Change]:
    found: list[Change] = []
    kinds: tuple[tuple[Literal["task", "input"], Any, Any], ...] = (
        ("task", old.tasks, new.tasks),
        ("input", old.inputs, new.inputs),
    )
    for what, before, after in kinds:
        found += _between(what, {e.name: _told(e) for e in before}, {e.name: _told(e) for e in after})
    return found + _between("part", _parts(old), _parts(new))


def _told(item: Word) -> dict[str, Any]:
    """What of a task or an input callers can notice: a base rate is measured anew each time."""
    return item.model_dump(mode="json", exclude={"name", "base_rate", "output"})


def _parts(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {p.name: {"role": p.role, "sha256": manifest.files[p.file].sha256} for p in manifest.parts}


def _between(
    what: Literal["task", "input", "part"], old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]
) -> list[Change]:
    found = []
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        if was is None:
            found.append(Change(what=what, name=name, change="added", new=now))
        elif now is None:
            found.append(Change(what=what, name=name, change="removed", old=was))
        elif was != now:
            found.append(Change(what=what, name=name, change="changed", old=was, new=now))
    return found


def _difference(old: int | None, new: int | None) -> Difference:
    return Difference(old=old, new=new, difference=new - old if old is not None and new is not None else None)
