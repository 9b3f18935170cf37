"""What a runbook says of having been tried is what the program tries."""

from __future__ import annotations

import pytest

from tests.runbooks.tried import BY_HAND, FAULTS, PAGES, blocks, line_of


@pytest.mark.parametrize("page", PAGES)
def test_a_runbook_says_how_it_was_tried(page: str) -> None:
    assert PAGES[page].read_text().splitlines()[-1] == line_of(page)


def test_what_is_tried_has_a_runbook_with_commands() -> None:
    assert {*FAULTS, *BY_HAND} <= set(PAGES)
    assert not set(FAULTS) & set(BY_HAND)
    for page in FAULTS:
        assert list(blocks(PAGES[page], "flights")), page
