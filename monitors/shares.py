"""Which stream carries which cell, with which part of its weight: fixed before the first row."""

from __future__ import annotations

from dataclasses import dataclass, replace

from serinus.evidence import Stream, WorkItem
from serinus.guards import HOLDING, CellSpec, Metric, Role

SHADOW_PART, CANARY_PART = 0.7, 0.3
RATES: frozenset[Metric] = frozenset({"failures", "latency"})
PAIRED_ONLY: frozenset[Metric] = HOLDING | {"psi", "js"}


@dataclass(frozen=True, slots=True)
class Share:
    """One cell as one stream sees it, with its part of the cell's weight."""

    spec: CellSpec
    stream: Stream
    role: Role
    part: float

    @property
    def decides(self) -> bool:
        return self.role in ("required", "optional")

    @property
    def weight(self) -> float:
        return self.carried if self.decides else 0.0

    @property
    def carried(self) -> float:
        """The weight that its evidence shows: of a guard in dry run, which decides nothing, what it would have."""
        return self.spec.weight * self.part if self.decides or self.spec.dry_run else 0.0


def shares_of(item: WorkItem, *, replay: bool = False) -> tuple[Share, ...]:
    """With a shadow, task cells are .7 shadow (which promotion looks at) and .3 canary (which may roll back), and rates
    are the canary's alone. A plan without shadow is judged on its canary; a replay stands alone, with its own alpha.

    Where a task's labels depend on what was shown, only the canary's say what the candidate would have got: they carry
    the whole weight, and paired cells hold at most. What needs no label is looked at where both scored a request."""
    paired: Stream = "replay" if replay else "shadow"
    shares = [_rehearsed(share) for spec in item.sla.cells() for share in _shares(item, spec, paired)]
    if not replay:
        return tuple(shares)
    kept = [share for share in shares if share.stream == "replay"]
    whole = sum(share.weight for share in kept)
    return tuple(Share(s.spec, s.stream, s.role, s.part / whole if s.decides and whole else s.part) for s in kept)


def _rehearsed(share: Share) -> Share:
    """A guard in dry run is judged like any other, and only shown."""
    if not share.spec.dry_run:
        return share
    return replace(share, role="display", part=share.part if share.decides else 0.0)


def _shares(item: WorkItem, spec: CellSpec, paired: Stream) -> list[Share]:
    seen = paired == "replay" or item.shadow
    if spec.metric in PAIRED_ONLY:
        return [Share(spec, paired, spec.role, 1.0)] if seen else []
    if spec.metric in RATES or not seen:
        return [Share(spec, "canary", spec.role, 1.0)]
    if spec.role in ("hold", "display"):
        return [Share(spec, paired, spec.role, 1.0), Share(spec, "canary", "display", 1.0)]
    if item.sla.tasks[spec.task].label_depends_on_action:
        return [Share(spec, paired, "hold", 1.0), Share(spec, "canary", spec.role, 1.0)]
    if paired == "replay":
        return [Share(spec, "replay", spec.role, 1.0)]
    return [Share(spec, "shadow", spec.role, SHADOW_PART), Share(spec, "canary", "optional", CANARY_PART)]
