"""A decision of the past is computed again from the state that was kept, to the last bit; what was altered shows."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors import kept
from monitors.assess import Assessor
from monitors.kept import FOLDER, Keeper, read_kept
from monitors.recompute import first_difference, run
from monitors.statefile import Packed
from serinus.errors import BadInput
from serinus.evidence import Evidence, WorkItem
from serinus.jobs import Job

HOUR_MS, START = 3_600_000, 240 * 3_600_000


@pytest.fixture
def told(item: WorkItem, draw: Callable, tmp_path: Path) -> list[Evidence]:
    """60 looks at a regression, their states kept below `tmp_path`."""
    rng, assessor, keeper = np.random.default_rng(0), Assessor(item), Keeper(tmp_path / FOLDER / item.rollout)
    found = []
    for at in range(1, 61):
        found.append(assessor.consume(draw(rng, START + at * HOUR_MS, item.sla.tasks, worse=3.0, n=150)))
        keeper.take(assessor, found[-1], newest=at == 60)
    keeper.flush()
    return found


def asked(evidence: Evidence, folder: Path) -> dict:
    job = Job(id="j", kind="recompute", model="ads", params={"evidence": evidence.model_dump(mode="json")})
    return run(job, folder, folder / "jobs" / "j" / "work", lambda done, said: None)


def changes(told: list[Evidence]) -> list[Evidence]:
    said = [(each.verdict, each.culprits, each.begun) for each in told]
    return [each for at, each in enumerate(told) if at == 0 or said[at] != said[at - 1]]


def test_every_look_that_changed_something_is_made_again_and_equal(told: list[Evidence], tmp_path: Path) -> None:
    assert told[-1].verdict == "violated"
    assert len(changes(told)) >= 3
    for evidence in [*changes(told), told[-1]]:
        assert asked(evidence, tmp_path)["equal"] is True


def test_a_look_at_which_nothing_happened_is_not_kept_and_that_is_said(told: list[Evidence], tmp_path: Path) -> None:
    plain = next(each for each in told[:-1] if each not in changes(told))
    found = asked(plain, tmp_path)
    assert found["equal"] is None
    assert "not kept" in found["why"]


def test_evidence_that_was_altered_is_named_by_its_field(told: list[Evidence], tmp_path: Path) -> None:
    good = changes(told)[-1]
    cells = list(good.cells)
    cells[3] = cells[3].model_copy(update={"e_violated": float(np.nextafter(cells[3].e_violated, 1e9))})
    found = asked(good.model_copy(update={"cells": tuple(cells)}), tmp_path)
    assert (found["equal"], found["field"]) == (False, "cells[3].e_violated")
    found = asked(good.model_copy(update={"verdict": "satisfied"}), tmp_path)
    assert (found["field"], found["reported"], found["found"]) == ("verdict", "satisfied", "violated")


def test_one_altered_byte_of_a_state_makes_it_fail(told: list[Evidence], tmp_path: Path) -> None:
    good = changes(told)[-1]
    path = tmp_path / FOLDER / good.rollout / f"{good.state_digest}.state"
    whole = path.read_bytes()
    for at in np.random.default_rng(1).integers(0, len(whole), 20).tolist():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BadInput, match="damaged"):
            asked(good, tmp_path)
    inside = bytearray(zlib.decompress(whole))
    for at in np.random.default_rng(2).integers(inside.index(b"\n") + 1, len(inside), 20).tolist():
        other = bytearray(inside)
        other[at] ^= 4
        path.write_bytes(zlib.compress(bytes(other)))
        with pytest.raises(BadInput, match="its digest is another"):
            asked(good, tmp_path)
    path.write_bytes(whole)
    assert asked(good, tmp_path)["equal"] is True


def test_an_altered_margin_beside_the_state_shows(told: list[Evidence], tmp_path: Path) -> None:
    good = changes(told)[-1]
    folder = tmp_path / FOLDER
    item, state = read_kept(folder, good.rollout, good.state_digest)
    path = folder / good.rollout / f"{good.state_digest}.state"
    kept.write_kept(path, item.model_copy(update={"alpha": 0.2}), Packed((state,)))
    assert asked(good, tmp_path)["field"] == "limit"


def test_names_that_lead_elsewhere_are_refused(told: list[Evidence], tmp_path: Path) -> None:
    for change in ({"rollout": "../r1"}, {"state_digest": "../../x"}, {"state_digest": ""}):
        with pytest.raises(BadInput, match="name no state"):
            asked(told[0].model_copy(update=change), tmp_path)


def test_what_is_kept_is_bounded_and_the_first_and_newest_stay(
    item: WorkItem, draw: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_FILES", 5)
    monkeypatch.setattr(kept, "MOST_ROLLOUTS", 2)
    rng, digests = np.random.default_rng(0), []
    for rollout in ("r1", "r2", "r3"):
        assessor, keeper = Assessor(item.model_copy(update={"rollout": rollout})), Keeper(tmp_path / rollout)
        digests = []
        for at in range(1, 20):
            evidence = assessor.consume(draw(rng, START + at * HOUR_MS, ["click"], n=30))
            keeper.take(assessor, evidence.model_copy(update={"culprits": (str(at),)}), newest=False)
            digests.append(evidence.state_digest)
    names = {path.stem for path in (tmp_path / "r3").iterdir()}
    assert names == {digests[0], *digests[-4:]}
    assert len(list(tmp_path.iterdir())) == 2


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
)


@given(PLAIN, PLAIN)
def test_there_is_a_first_difference_exactly_where_values_differ(a: object, b: object) -> None:
    assert first_difference(a, a) is None
    if a != b:
        assert first_difference(a, b) is not None
