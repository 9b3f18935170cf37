"""docs/resources.md has the fields as they are."""

from __future__ import annotations

from pathlib import Path

from serinus.resources.manifests import read_manifests
from serinus.resources.page import tables
from tests.docs.test_docs import blocks

PAGE = Path(__file__).parents[2] / "docs" / "resources.md"


def test_the_page_has_every_field_as_it_is() -> None:
    told = "run `python -m serinus.resources.page` and put it at the end of the page"
    assert PAGE.read_text().endswith(tables()), told


def test_what_the_page_shows_are_resources() -> None:
    (shown,) = blocks(PAGE, "yaml")
    assert [each.metadata.name for each in read_manifests(shown, "it")] == ["ads", "ads-2"]
