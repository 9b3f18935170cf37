"""Looks: packed bit for bit, the newest in full, those that matter for ever, a line of each; and what charts get."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from controller.advance import advance
from controller.exchange import keep
from controller.looks import EACH, NEWEST, forget, line_of, thin
from controller.rollouts import Ask
from controller.rows import latest_evidence, lock_rollout, rollout_row
from controller.series import evenly, read_series
from controller.tables import EvidenceRow, LookRow
from controller.upkeep import Upkeep
from serinus.evidence import CellEvidence, Evidence, MonitorReport
from serinus.rollouts import Phase


def bring(world: Any, looks: list[Evidence]) -> None:
    with world.db.write() as session:
        keep(session, MonitorReport(monitor="m", evidence=tuple(looks)), world.now)


def ticks(session: Any, table: Any = EvidenceRow) -> set[int]:
    return set(session.scalars(select(table.tick_ms)))


def test_what_is_read_has_the_digest_of_what_was_sent(world: Any, make: Any) -> None:
    rollout = world.start()
    odd = make.evidence("violated", make.T0, rollout, e=float("inf"), holds=("0.1 + 0.2 is \u00e4 \U0001f426",))
    cell = odd.cells[0].model_copy(update={"estimate": 0.1 + 0.2, "low": None, "high": 1e-310})
    odd = odd.model_copy(update={"cells": (cell,)})
    bring(world, [odd])
    with world.db.read() as session:
        row = session.scalars(select(EvidenceRow)).one()
        assert (row.body, row.body.digest, row.digest) == (odd, odd.digest, odd.digest)
        assert latest_evidence(session, rollout) == odd


def test_thinning_keeps_the_newest_the_changes_and_what_moves_rest_on(world: Any, make: Any) -> None:
    rollout, many = world.start(), 3 * NEWEST
    words = ["inconclusive"] * 77 + ["satisfied"] * (many - 77)
    looks = [make.evidence(word, make.T0 + at, rollout, e=0.1 + at) for at, word in enumerate(words)]
    bring(world, looks)
    with world.db.write() as session:
        _, row = lock_rollout(session, rollout)
        move = make.rollout(Phase.SHADOW).history[0]
        row.history = (move.model_copy(update={"evidence": looks[33].digest}),)
    with world.db.write() as session:
        _, row = lock_rollout(session, rollout)
        dropped = thin(session, row)
    wanted = {0, 33, 77} | set(range(0, many, EACH)) | set(range(many - NEWEST, many))
    with world.db.read() as session:
        assert ticks(session) == {make.T0 + at for at in wanted}
        assert dropped == many - len(wanted)
        assert ticks(session, LookRow) == {look.tick_ms for look in looks}
        for row in session.scalars(select(EvidenceRow)):
            assert row.body.digest == row.digest == looks[row.tick_ms - make.T0].digest
    bring(world, [looks[5].model_copy(update={"verdict": "violated"})])  # thinned out, and brought again
    with world.db.write() as session:
        assert make.T0 + 5 not in ticks(session)
        _, row = lock_rollout(session, rollout)
        assert thin(session, row) == 0
        assert forget(session, row) == len(wanted) - 1
        assert ticks(session) == {make.T0 + 33}


def test_the_first_violated_look_stays(world: Any, make: Any) -> None:
    rollout = world.start()
    looks = [make.evidence("violated", make.T0 + at, rollout) for at in range(NEWEST + 30)]
    bring(world, looks)
    with world.db.write() as session:
        thin(session, lock_rollout(session, rollout)[1])
        forget(session, lock_rollout(session, rollout)[1])
        assert latest_evidence(session, rollout) == looks[0]


def test_charts_get_every_look_in_columns(world: Any, make: Any) -> None:
    rollout = world.start()
    looks = [make.evidence("satisfied", make.T0 + at, rollout, e=at / 7) for at in range(50)]
    other = looks[9].cells[0].model_copy(update={"stream": "canary", "estimate": None, "labels": 2**40})
    looks[9] = looks[9].model_copy(update={"cells": (*looks[9].cells, other)})
    bring(world, looks)
    name = looks[0].cells[0].name
    with world.db.read() as session:
        whole = read_series(session, rollout, guards=[name], points=100)
        few = read_series(session, rollout, guards=["no-such-guard"], points=5)
        late = read_series(session, rollout, after_ms=make.T0 + 47, points=100)
    assert (whole.looks, whole.tick_ms, whole.names) == (50, tuple(look.tick_ms for look in looks), (name,))
    assert whole.e == tuple(look.e for look in looks)
    shadow, canary = whole.guards
    cell = looks[0].cells[0]
    assert shadow.estimate == pytest.approx([cell.estimate] * 50, rel=1e-6)
    assert (shadow.labels, shadow.margin) == ((cell.labels,) * 50, cell.margin)
    assert (canary.stream, canary.labels[9], canary.labels[8], canary.estimate[9]) == ("canary", 2**32 - 1, None, None)
    assert [few.tick_ms[0], few.tick_ms[-1], len(few.tick_ms), few.guards] == [make.T0, make.T0 + 49, 5, ()]
    assert (late.looks, late.tick_ms) == (2, (make.T0 + 48, make.T0 + 49))


def test_looks_from_before_there_were_lines_are_charted_from_their_bodies(world: Any, make: Any) -> None:
    rollout = world.start()
    looks = [make.evidence("satisfied", make.T0 + at, rollout) for at in range(5)]
    bring(world, looks)
    with world.db.write() as session:
        wanted = read_series(session, rollout, guards=[looks[0].cells[0].name], points=9)
        for row in session.scalars(select(LookRow)):
            session.delete(row)
        session.flush()
        assert read_series(session, rollout, guards=[looks[0].cells[0].name], points=9) == wanted


@given(st.lists(st.integers(), unique=True, max_size=50).map(sorted), st.integers(2, 60))
def test_points_are_chosen_evenly_with_both_ends(found: list[int], most: int) -> None:
    chosen = list(evenly(found, most))
    assert len(chosen) == min(len(found), most)
    assert chosen == sorted(set(chosen))
    assert (chosen[:1], chosen[-1:]) == (found[:1], found[-1:])


@given(st.none() | st.floats(allow_nan=False), st.integers(0, 2**70))
def test_a_line_holds_any_number(value: float | None, labels: int) -> None:
    told = {
        "stream": "shadow", "task": "t", "slice": "s", "metric": "auc", "role": "required", "weight": 1, "margin": 0,
        "estimate": value, "low": value, "high": None, "verdict": "error", "labels": labels,
    }  # fmt: skip
    rest = {"e_violated": 0, "e_satisfied": 0, "baseline_value": None, "candidate_value": None}
    cell = CellEvidence.model_validate({**told, **rest, "positives": 0, "groups": 0})
    assert len(line_of([cell, cell])) == 34


def test_the_charts_of_a_rollout_that_is_unknown(world: Any) -> None:
    with world.db.read() as session:
        series = read_series(session, "none", points=5)
        assert (series.looks, series.tick_ms) == (0, ())
        assert session.scalar(select(func.count()).select_from(LookRow)) == 0
        assert not math.isnan(sum(series.e))


def test_upkeep_thins_what_goes_on_and_forgets_what_ended_long_ago(world: Any, make: Any) -> None:
    rollout, many = world.start(), 2 * NEWEST
    looks = [make.evidence("satisfied", make.T0 + at, rollout) for at in range(many)]
    bring(world, looks)
    upkeep = Upkeep(world.db, lambda: world.now, kept_s=86_400)
    assert upkeep.round() == many - NEWEST - NEWEST // EACH
    assert upkeep.round() == 0
    ask = Ask("abort", "enough", "ann")
    advance(world.db, rollout, world.uri, world.now, ask=ask)
    assert upkeep.round() == 0
    world.now += 86_401
    assert upkeep.round() > 0
    with world.db.read() as session:
        told = {move.evidence for move in rollout_row(session, rollout).history if move.evidence}
        assert set(session.scalars(select(EvidenceRow.digest))) == told
        assert ticks(session, LookRow) == set()
    assert upkeep.round() == 0
