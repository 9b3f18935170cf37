"""Some rows of a request and of its answer, in an order of their own: what a ranking answers, records and shadows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from serving.ask import Ask, Output

Choose = Callable[[Sequence[Output], int], Sequence[int]]
"""(Outputs, rows of the request) -> places of the rows that are answered, in the order of the answer."""


def taken(ask: Ask, outputs: Sequence[Output], index: Sequence[int]) -> tuple[Ask, list[Output]]:
    """The request and its outputs with the rows `index` alone, in that order. One-row inputs stay as they are."""
    at = list(index)
    inputs = {name: t[at] if len(t) == ask.rows > 1 else t for name, t in ask.inputs.items()}
    fewer = [Output(o.task, o.values[at], o.version, o.fallback) for o in outputs]
    return msgspec.structs.replace(ask, inputs=inputs, rows=len(at)), fewer
