"""The page on rollouts shows the table of transitions as it is."""

from __future__ import annotations

from pathlib import Path

import controller
from controller.picture import drawn, rewritten
from serinus.rollouts import Phase

PAGE = Path(controller.__file__).parents[1] / "docs" / "rollouts.md"


def test_the_picture_and_the_tables_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    assert rewritten(page) == page, "run: python -m controller.picture docs/rollouts.md"
    assert drawn() in page


def test_a_page_that_is_out_of_date_is_noticed() -> None:
    assert rewritten("<!-- picture -->\nold\n<!-- /picture -->") != "<!-- picture -->\nold\n<!-- /picture -->"


def test_every_phase_and_every_setting_is_explained() -> None:
    page = PAGE.read_text()
    words = [*map(str, Phase), "needs", "gate", "windows", "freezes", "alert_after_s", "dry_run", "queue", "skip"]
    assert {word for word in words if word not in page} == set()
