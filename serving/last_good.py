"""What each entity was last told, task by task, for heads that stand in with it."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from serving.ask import Tensor

MAX_NUMBERS = 65_536


class LastGood:
    """The last good answer by (task, entity), of one version in one process: plain numbers, the oldest forgotten.

    Only answers of one row are kept and given back: the rows of a larger request are an entity's many items.
    `max_numbers`: of all answers together; one of a multiclass task has as many as classes."""

    def __init__(self, max_numbers: int = MAX_NUMBERS) -> None:
        self._max_numbers = max_numbers
        self._numbers = 0
        self._found: OrderedDict[tuple[str, str], float | tuple[float, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def keep(self, task: str, entity: str, values: Tensor) -> None:
        """`values`: shape [1] or [1, classes]."""
        before = self._found.pop((task, entity), None)
        if before is not None:
            self._numbers -= _size(before)
        self._found[task, entity] = values.item() if values.ndim == 1 else tuple(values[0].tolist())
        self._numbers += values.size
        while self._numbers > self._max_numbers:
            self._numbers -= _size(self._found.popitem(last=False)[1])

    def get(self, task: str, entity: str) -> Tensor | None:
        """An answer of one row, float32."""
        found = self._found.get((task, entity))
        return None if found is None else np.array([found], np.float32)


def _size(answer: float | tuple[float, ...]) -> int:
    return len(answer) if isinstance(answer, tuple) else 1
