"""The heat map of a look says of each task and slice what the most pressing guard says, in words too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page

from controller.console.heat import MOST_SLICES, PLACE, heat_of, intervals_of
from controller.console.looks import Guard
from tests.console.conftest import Served
from tests.console.pieces import SLICES, TASKS, cells_of

BAD = {"click / overall / auc": 3.2, "click / country=BR / auc": 5.0}


def sorted_guards(cells: Any) -> list[Guard]:
    return sorted((Guard(cell, culprit=False) for cell in cells), key=lambda guard: (*guard.order, guard.cell.name))


def test_a_square_is_the_guard_that_presses_most() -> None:
    heat = heat_of(sorted_guards(cells_of(1.0, BAD)))
    assert heat.slices == SLICES
    assert [task for task, _ in heat.rows] == sorted(TASKS)
    click = dict(heat.rows)["click"]
    assert [square.cell.verdict for square in click if square][:2] == ["violated", "violated"]
    for square in click[:2]:
        assert square is not None
        assert square.cell.estimate is not None
        worse = square.cell.estimate / square.cell.margin
        assert worse > 1
        assert square.cell.metric == "auc"
        assert square.ratio == pytest.approx(worse)


@given(st.integers(1, 3 * MOST_SLICES))
def test_however_many_slices_there_are_the_page_is_bounded(many: int) -> None:
    (cell, *_) = cells_of(1.0, {})
    cells = [cell.model_copy(update={"slice": f"country={number:03}"}) for number in range(many)]
    heat = heat_of(sorted_guards(cells))
    assert len(heat.slices) == min(many, MOST_SLICES)
    assert len(heat.slices) + heat.left_out == many


@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 10))
def test_an_interval_stays_in_its_picture(value: float, margin: float) -> None:
    (cell, *_) = cells_of(1.0, {})
    told = cell.model_copy(update={"estimate": value, "low": None, "high": value, "margin": margin, "stream": "canary"})
    for each in intervals_of([replace(Guard(told, culprit=False))]):
        assert margin > 0
        assert each.shadow is None
        assert each.canary is not None
        assert each.canary.low is None
        assert each.canary.dot is None or PLACE.start <= each.canary.dot <= PLACE.end


def test_the_page_of_a_model_says_it_in_words(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/console/models/search")
    assert "violated" in page.locator(".heat tbody tr", has_text="click").locator("td.bad").inner_text()
    assert "margins" in page.locator(".heat tbody td").first.inner_text()
    page.locator("#intervals summary").click()
    assert "margin" in (page.locator("#intervals svg.bar").first.get_attribute("aria-label") or "")
    page.goto(f"{served.url}/console/models/fresh")
    assert page.locator(".heat").count() == 0
