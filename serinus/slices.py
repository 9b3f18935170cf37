"""Slices of the traffic: which groups of rows an SLA looks at one by one.

slices:
  country: [BR, DE]                  # a feature, or an attribute that callers give: these values
  city: {top: 50, other: true}       # its 50 most frequent values, and all the others as one
  plan: {values: [free], other: true}
  "country*device": auto             # two features crossed: the 20 most frequent combinations
  "country*plan": ["BR*free"]        # or these
  cohort: 8                          # entities, by a hash, in 8 groups

A row without the feature, or with a value that is not listed, is in `other`, which is a slice of its own only where it
is asked for. What is frequent is found once, when a rollout begins, and stays so to its end.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from serinus.tasks import Word

__all__ = ["AUTO", "CROSS", "MOST_PLACES", "OTHER", "Slice", "SliceRule", "features_of", "slice_of"]

AUTO = 20
"""How many values `auto` takes."""
MOST_PLACES = 200
"""The most values of one slice."""
CROSS = "*"
OTHER = "other"

Values = tuple[Annotated[str, Field(max_length=258)], ...]
Listed = Annotated[Values, Field(min_length=1, max_length=MOST_PLACES)]
Cohorts = Annotated[int, Field(strict=True, ge=2, le=64)]


class Slice(Word):
    """A slice at length: `values`, or the `top` most frequent ones, or entity `cohorts`.

    `values` beside `top`: those that were found most frequent; None: nobody has looked yet. `other`: all rows in
    none of them are a slice too. That is so as well where nothing was found: each row is in some slice."""

    values: Annotated[Values, Field(max_length=MOST_PLACES)] | None = None
    top: Annotated[int, Field(ge=1, le=MOST_PLACES)] | None = None
    cohorts: Cohorts | None = None
    other: bool = False

    @property
    def open(self) -> bool:
        """Whether its values are still to be found."""
        return self.top is not None and self.values is None

    @property
    def names(self) -> tuple[str, ...]:
        """What each place of it is called; `other` comes last."""
        if self.cohorts is not None:
            return tuple(f"{at}/{self.cohorts}" for at in range(1, self.cohorts + 1))
        values = self.values or ()
        return (*values, OTHER) if self.other or not values else values

    def check(self, name: str) -> None:
        """Raises ValueError that says what is wrong with a slice of this name."""
        parts = name.split(CROSS)
        if not all(parts) or "=" in name or len(name) > 130:
            raise ValueError(f"slices: {name!r} names no feature, nor two as a*b")
        if self.cohorts is not None:
            if self.values is not None or self.top is not None or self.other:
                raise ValueError(f"slices.{name}: cohorts have no values, and no other")
            if len(parts) > 1:
                raise ValueError(f"slices.{name}: cohorts cannot be crossed")
            return
        if len(parts) > 2 or len(set(parts)) < len(parts):
            raise ValueError(f"slices.{name}: at most two features are crossed, and not one with itself")
        if self.values is None and self.top is None:
            raise ValueError(f"slices.{name}: say values, top or cohorts")
        if self.top is None and not self.values:
            raise ValueError(f"slices.{name}: there are no values")
        values = self.values or ()
        if len(set(values)) < len(values) and (self.other or self.top is not None):
            raise ValueError(f"slices.{name}: a value is listed twice")
        if self.other and OTHER in values:
            raise ValueError(f"slices.{name}: {OTHER!r} is listed, and stands for the rest as well")
        if len(parts) == 2 and (bad := [value for value in values if value.count(CROSS) != 1]):
            raise ValueError(f"slices.{name}: {bad[0]!r} is no pair of values, expected one of each as a*b")


def _form(rule: object) -> str:
    forms = {str: "word", int: "number", list: "list", tuple: "list"}
    return forms.get(type(rule), "map")


SliceRule = Annotated[
    Annotated[Listed, Tag("list")]
    | Annotated[Literal["auto"], Tag("word")]
    | Annotated[Cohorts, Tag("number")]
    | Annotated[Slice, Tag("map")],
    Discriminator(_form),
]
"""How a slice stands in an SLA."""


def slice_of(rule: SliceRule) -> Slice:
    """The rule at length."""
    if isinstance(rule, Slice):
        return rule
    if isinstance(rule, tuple):
        return Slice(values=rule)
    return Slice(cohorts=rule) if isinstance(rule, int) else Slice(top=AUTO)


def features_of(name: str, rule: SliceRule) -> tuple[str, ...]:
    """The features, or attributes, whose values a slice needs: none, one or two."""
    return () if slice_of(rule).cohorts is not None else tuple(name.split(CROSS))
