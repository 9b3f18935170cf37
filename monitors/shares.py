"""Which stream carries which cell, with which part of its weight: fixed before the first row."""

from __future__ import annotations

from dataclasses import dataclass

from serinus.evidence import Stream, WorkItem
from serinus.sla import CellSpec, Role

SHADOW_PART, CANARY_PART = 0.7, 0.3
RATES = ("failures", "latency")


@dataclass(frozen=True, slots=True)
class Share:
    """One cell as one stream sees it, with its part of the cell's weight."""

    spec: CellSpec
    stream: Stream
    role: Role
    part: float

    @property
    def weight(self) -> float:
        return self.spec.weight * self.part if self.role in ("required", "optional") else 0.0


def shares_of(item: WorkItem, *, replay: bool = False) -> tuple[Share, ...]:
    """With a shadow, task cells are .7 shadow (which promotion looks at) and .3 canary (which may roll back), and rates
    are the canary's alone. A plan without shadow is judged on its canary; a replay stands alone, with its own alpha."""
    shares = []
    for spec in item.sla.cells():
        if replay:
            if spec.metric not in RATES:
                shares.append(Share(spec, "replay", spec.role, 1.0))
            continue
        if spec.metric in RATES or not item.shadow:
            shares.append(Share(spec, "canary", spec.role, 1.0))
            continue
        shares.append(Share(spec, "shadow", spec.role, SHADOW_PART))
        shares.append(Share(spec, "canary", "display" if spec.role == "display" else "optional", CANARY_PART))
    return tuple(shares)
