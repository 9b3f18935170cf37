"""Slices in an SLA: every way to say them, old ones too, and mistakes that are named."""

from __future__ import annotations

import pytest

from serinus.errors import InvalidSla
from serinus.sla import Sla

TEXT = "{model: ads, tasks: {click: {label_window_s: 10, absent: negative}}, slices: %s}"


def _sla(slices: str) -> Sla:
    return Sla.from_yaml(TEXT % slices)


def test_every_way_to_say_a_slice() -> None:
    sla = _sla(
        "{country: [BR, DE], city: {top: 3, other: true}, plan: {values: [free], other: true}, "
        '"country*device": auto, "country*plan": ["BR*free"], cohort: 3}'
    )
    assert sla.slice_lists == {
        "country": ("BR", "DE"),
        "city": ("other",),
        "plan": ("free", "other"),
        "country*device": ("other",),
        "country*plan": ("BR*free",),
        "cohort": ("1/3", "2/3", "3/3"),
    }
    assert sla.slice_features == ("country", "city", "plan", "device")
    assert {cell.slice for cell in sla.cells()} >= {"country=BR", "country*plan=BR*free", "plan=other", "cohort=3/3"}
    assert Sla.model_validate_json(sla.model_dump_json()) == sla


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ("{a: []}", "slices.a: "),
        ("{a: 1}", "slices.a: "),
        ("{a: true}", "slices.a: "),
        ("{a: often}", "slices.a: expected 'auto', found 'often'"),
        ("{a: {tops: 3}}", "slices.a.tops: "),
        ("{a: {top: 1000}}", "slices.a.top: "),
        ("{a: {other: true}}", "slices.a: say values, top or cohorts"),
        ("{a: {values: [other], other: true}}", "slices.a: 'other' is listed"),
        ("{a: {values: [x, x], other: true}}", "slices.a: a value is listed twice"),
        ("{a: {cohorts: 4, other: true}}", "slices.a: cohorts have no values"),
        ('{"a*b": 4}', "slices.a*b: cohorts cannot be crossed"),
        ('{"a*a": auto}', "slices.a*a: at most two features"),
        ('{"a*b*c": auto}', "slices.a*b*c: at most two features"),
        ('{"a*b": [x]}', "slices.a*b: 'x' is no pair"),
        ('{"a=b": auto}', "slices: 'a=b' names no feature"),
        ('{"a*": auto}', "slices: 'a*' names no feature"),
    ],
)
def test_a_mistake_is_named(slices: str, said: str) -> None:
    with pytest.raises(InvalidSla) as error:
        _sla(slices)
    place, _, what = error.value.detail.partition(": ")
    assert place.startswith("SLA, line 1, column ")
    assert what.startswith(said)
