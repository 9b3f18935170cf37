"""What front doors send to `Candidate` and `Shadow`. Sent by Ray between processes of this pool only."""

from __future__ import annotations

from dataclasses import dataclass

from serving.applied import Group
from serving.ask import Tensor


@dataclass(frozen=True, slots=True)
class ShadowBatch:
    """Rows of several requests, scored together. `keys`: (request id, index, entity) of each row, shapes [n, ...].

    `share`: of the entities that are recorded."""

    model: str
    epoch: int
    rollout: str
    groups: tuple[Group, ...]
    inputs: dict[str, Tensor]
    keys: list[tuple[bytes, int, str]]
    slices: list[dict[str, str]]
    share: float = 1.0
