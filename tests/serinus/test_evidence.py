"""Verdicts have one order, and no data is never a pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serinus.evidence import Evidence, Verdict, VerdictName, worst

words = st.sampled_from([verdict.word for verdict in Verdict])


def test_no_verdict_at_all_is_inconclusive() -> None:
    assert worst([]) == "inconclusive"


@given(st.lists(words, min_size=1), st.lists(words, min_size=1))
def test_the_worst_of_both_is_the_worst_of_all(a: list[VerdictName], b: list[VerdictName]) -> None:
    assert worst([worst(a), worst(b)]) == worst([*a, *b])
    assert (worst(a) == "satisfied") == (set(a) == {"satisfied"})
    assert (worst(a) == "violated") == ("violated" in a)


@given(words)
def test_a_verdict_is_found_by_its_word(word: VerdictName) -> None:
    assert Verdict.of(word).word == word


def _evidence(golden: Path, **changes: Any) -> Evidence:
    found = Evidence.model_validate_json((golden / "evidence.json").read_bytes())
    return found.model_copy(update=changes)


def test_equal_evidence_has_equal_digests_and_other_evidence_another(golden: Path) -> None:
    one = _evidence(golden)
    assert one.digest == Evidence.model_validate_json(one.model_dump_json()).digest
    assert one.digest != _evidence(golden, tick_ms=one.tick_ms + 1).digest


def test_evidence_has_begun_when_every_required_cell_has_an_estimate(golden: Path) -> None:
    required, optional = _evidence(golden).cells
    blank = required.model_copy(update={"estimate": None})
    assert _evidence(golden, cells=(required, optional)).begun
    assert not _evidence(golden, cells=(required, blank)).begun
    assert not _evidence(golden, cells=(optional,)).begun
    assert not _evidence(golden, cells=()).begun


def test_a_field_that_is_not_known_is_an_error(golden: Path) -> None:
    with pytest.raises(ValidationError, match="colour"):
        Evidence.model_validate({**_evidence(golden).model_dump(), "colour": "red"})
