"""What each entity was last told, task by task, for heads that stand in with it."""

from __future__ import annotations

from collections import OrderedDict

MAX_ENTRIES = 65_536


class LastGood:
    """The last good probability by (task, entity), of one version in one process: plain floats, the oldest forgotten.

    Only answers of one row are kept and given back: the rows of a larger request are an entity's many items."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._found: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def keep(self, task: str, entity: str, value: float) -> None:
        self._found[task, entity] = value
        self._found.move_to_end((task, entity))
        if len(self._found) > self._max_entries:
            self._found.popitem(last=False)

    def get(self, task: str, entity: str) -> float | None:
        return self._found.get((task, entity))
