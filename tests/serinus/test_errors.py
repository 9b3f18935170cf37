"""Errors travel as problem details and come back as themselves."""

from __future__ import annotations

import inspect

import pytest

from serinus import errors
from serinus.errors import NotFound, SerinusError, from_problem

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SerinusError)]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_comes_back_as_itself(kind: type[SerinusError]) -> None:
    sent = kind("model 'ads' is not there")
    found = from_problem(sent.problem())
    assert type(found) is kind
    assert (found.detail, found.advice, found.problem()) == (sent.detail, sent.advice, sent.problem())
    assert str(found) == "model 'ads' is not there"


@pytest.mark.parametrize("kind", ALL)
def test_an_error_says_what_to_do_and_which_status_it_is(kind: type[SerinusError]) -> None:
    assert kind.hint
    assert 400 <= kind.status < 600
    assert kind.__name__ in errors.__all__


def test_an_advice_of_ones_own_travels_too() -> None:
    assert from_problem(NotFound("gone", "look elsewhere").problem()).advice == "look elsewhere"


def test_a_problem_of_somebody_else_is_still_an_error() -> None:
    found = from_problem({"title": "Teapot", "status": 418})
    assert type(found) is SerinusError
    assert found.detail == "no detail"
