"""What requests of one row look like: the same client sends the same inputs in the same order, again and again.

So what can be said of names, datatypes and shapes alone is said once, and a request costs what its values cost."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

import numpy as np

from serinus.tasks import InputSpec

MAX_LAYOUTS = 64
SIMPLE = frozenset({"FP32", "BYTES"})
NUMBERS, NUMBERS_OR_NULL = frozenset({int, float}), frozenset({int, float, type(None)})


class Layout:
    """Names and datatypes of inputs, in their order; each is one FP32 or BYTES a row, as the specs want it."""

    __slots__ = ("_floats", "_names", "_nullable", "_texts")

    def __init__(self, names: tuple[str, ...], datatypes: tuple[str, ...], specs: Mapping[str, InputSpec]) -> None:
        self._names = names
        self._floats = [at for at, datatype in enumerate(datatypes) if datatype == "FP32"]
        self._texts = [at for at, datatype in enumerate(datatypes) if datatype == "BYTES"]
        self._nullable = frozenset(at for at in self._floats if specs[names[at]].nullable)

    def arrays(self, values: list[Any]) -> dict[str, Any] | None:
        """One value for each name -> arrays of shape [1]; None: something is unusual, which others must look at."""
        floats = [values[at] for at in self._floats]
        kinds = set(map(type, floats))
        if not kinds <= NUMBERS:
            gaps = {at for at in self._floats if values[at] is None}
            if not kinds <= NUMBERS_OR_NULL or not gaps <= self._nullable:
                return None
            floats = [nan if value is None else value for value in floats]
        try:
            with np.errstate(over="ignore"):
                whole = np.array(floats, np.float32)
        except OverflowError:
            return None
        if np.isinf(whole).any():
            return None
        names = self._names
        found: dict[str, Any] = {names[at]: whole[place : place + 1] for place, at in enumerate(self._floats)}
        for at in self._texts:
            if type(values[at]) is not str:
                return None
            found[names[at]] = np.array([values[at]], np.object_)
        return found


class Specs(dict[str, InputSpec]):
    """Name -> raw input, of what is in force for a model; remembers the layouts that were asked with."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._layouts: dict[tuple[tuple[str, ...], tuple[str, ...]], Layout | None] = {}

    def layout(self, names: tuple[str, ...], datatypes: tuple[str, ...]) -> Layout | None:
        """None where these inputs are not simple, or not what the specs say."""
        key = (names, datatypes)
        found = self._layouts.get(key)
        if found is None and key not in self._layouts:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()  # a caller may send any names, in any order
            found = self._layouts[key] = self._new(names, datatypes)
        return found

    def _new(self, names: tuple[str, ...], datatypes: tuple[str, ...]) -> Layout | None:
        if len(set(names)) < len(names) or not set(names) <= self.keys() or not set(datatypes) <= SIMPLE:
            return None
        wanted = [(self[name].datatype, self[name].shape) for name in names]
        right = all(kind == (datatype, ()) for kind, datatype in zip(wanted, datatypes, strict=True))
        return Layout(names, datatypes, self) if right else None
