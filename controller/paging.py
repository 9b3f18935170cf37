"""Long lists, a page at a time: a cursor says after which item the next page begins, so nothing is skipped or repeated
when items come and go meanwhile."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from serinus.errors import BadInput
from serinus.tasks import Word

__all__ = ["MOST", "Key", "Page", "Paged", "Paging", "page_of"]

T = TypeVar("T")
Row = TypeVar("Row")
MOST = 1000
"""Items of one page."""


class Page(Word, Generic[T]):
    """Some items, in the order of the list. `next`: the `cursor` to ask with for those after them; null: no more."""

    items: tuple[T, ...]
    next: Annotated[str | None, Field(description="Ask again with this as `cursor`; null: there are no more.")] = None


@dataclass(frozen=True, slots=True)
class Paging:
    """What a list was asked for: at most `limit` items, those after `cursor`."""

    limit: int = 100
    cursor: str | None = None


def _paging(
    limit: Annotated[int, Query(ge=1, le=MOST, description="How many items at most.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=1000, description="`next` of the page before; left out: the first page.")
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


Paged = Annotated[Paging, Depends(_paging)]
"""The parameter of a handler that gives pages."""


@dataclass(frozen=True, slots=True)
class Key:
    """A column that a list is in the order of; never null. The last key of a list makes each place unique."""

    column: InstrumentedAttribute[Any]
    falling: bool = False

    def check(self, value: Any) -> bool:
        """Whether a cursor may name this value."""
        kind = self.column.type.python_type
        if kind is str:
            return isinstance(value, str) and "\0" not in value and value.isprintable()
        if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
            return False
        return math.isfinite(value) and abs(value) < 2**63

    def after(self, value: Any) -> ColumnElement[bool]:
        later: ColumnElement[bool] = self.column < value if self.falling else self.column > value
        return later


def page_of(
    session: Session, query: Select[Row], keys: Sequence[Key], paging: Paging, show: Callable[[Row], T]
) -> Page[T]:
    """The page of the query's rows (of a table that has the keys' columns), each as `show` gives it.

    `query`: without order and limit. Raises BadInput for a cursor that this list did not give."""
    if paging.cursor is not None:
        query = query.where(_after(keys, _read(paging.cursor, keys)))
    order = [key.column.desc() if key.falling else key.column for key in keys]
    rows = list(session.scalars(query.order_by(*order).limit(paging.limit + 1)))
    more, rows = len(rows) > paging.limit, rows[: paging.limit]
    following = _cursor([getattr(rows[-1], key.column.key) for key in keys]) if more else None
    return Page(items=tuple(show(row) for row in rows), next=following)


def _after(keys: Sequence[Key], values: Sequence[Any]) -> ColumnElement[bool]:
    """After the item with these values: later by the first key, or alike by it and later by the next."""
    ways = []
    for at, key in enumerate(keys):
        alike = [keys[i].column == values[i] for i in range(at)]
        ways.append(and_(*alike, key.after(values[at])))
    return or_(*ways)


def _cursor(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


def _read(cursor: str, keys: Sequence[Key]) -> list[Any]:
    try:
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        values = None
    fits = isinstance(values, list) and len(values) == len(keys)
    if not fits or not all(key.check(value) for key, value in zip(keys, values, strict=True)):
        raise BadInput("this `cursor` is none of this list", "take `next` of the page before, or leave it out")
    return list(values)
