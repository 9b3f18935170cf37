"""What pages are made of, without a browser: words, stations, scales, what a command will do."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.auth import Caller
from controller.console.charts import guard_chart
from controller.console.consequences import needs_reason, offers, tell
from controller.console.looks import Guard, Point, guards_of
from controller.console.phases import stations_of
from controller.console.scales import Scale, nice
from controller.console.visit import Visit
from controller.console.words import ago, bytes_of, humane, number, share, short, span, utc
from serinus.evidence import Evidence
from serinus.rollouts import ENDS, Move, Phase, Plan, RolloutView
from serinus.transitions import COMMANDS, allowed_in
from tests.console.pieces import cells_of

finite = st.floats(-1e12, 1e12)
numbers = st.none() | st.floats()


def view_in(phase: Phase, paused_from: Phase | None = None, *way: Phase) -> RolloutView:
    stops = (Phase.PENDING, *way, phase)
    history = tuple(
        Move(at=float(at), event_ms=None, start=stops[at - 1], to=stops[at], why="", actor="test")
        for at in range(1, len(stops))
    )
    at = paused_from or phase
    return RolloutView(
        id="r1",
        model="ads",
        candidate=2,
        baseline=1,
        plan=Plan(),
        phase=phase,
        step={Phase.CANARY: 1, Phase.RAMP: 2}.get(at, 0),
        canary_bp=100,
        verdict=None,
        waiting_for="",
        history=history,
        started_at=0.0,
        started_event_ms=None,
        paused_from=paused_from,
        promoted=at in (Phase.BAKE, Phase.DONE),
        allowed=tuple(c for c in COMMANDS if c in allowed_in(phase, paused_from)),
    )


def look_of(share_: float, trend: dict[str, float]) -> Evidence:
    cells = cells_of(share_, trend)
    bad = tuple(cell.name for cell in cells if cell.verdict == "violated")
    return Evidence(
        rollout="r1", model="ads", baseline=1, candidate=2, tick_ms=1, watermark_ms=1, first_event_ms=0,
        e=1.0, limit=20.0, verdict="violated" if bad else "inconclusive", culprits=bad, cells=cells,
    )  # fmt: skip


def test_numbers_read_as_people_write_them() -> None:
    assert [number(x) for x in (None, 0.0, -0.00312, 12_345.6, math.inf, math.nan)] == [
        "–", "0", "−0.00312", "12,346", "∞", "–",
    ]  # fmt: skip
    assert [short(x) for x in (0.0123456, -0.987)] == ["0.012", "−0.99"]
    assert [share(bp) for bp in (1, 100, 10_000)] == ["0.01 %", "1 %", "100 %"]
    assert (bytes_of(1536), bytes_of(None), bytes_of(3 << 30)) == ("1.5 KiB", "–", "3.0 GiB")
    assert (span(93_784), span(0)) == ("1 d 2 h", "0 s")
    assert (ago(None, 5), ago(100, 101), ago(0, 7_300), ago(400, 100)) == ("never", "just now", "2 h ago", "in 5 min")
    assert humane("`approve`; 14671 s more of the 7200 s, 5 s") == "approve; 4 h 4 min more of the 2 h, 5 s"


@given(numbers)
def test_no_number_stops_a_page(value: float | None) -> None:
    assert number(value)
    assert short(value)
    assert utc(value)


@given(st.lists(finite, min_size=1), finite)
def test_what_is_drawn_stays_in_the_picture(values: list[float], value: float) -> None:
    low, high = nice(values)
    assert low <= min(values) <= max(values) <= high
    assert 10 <= Scale(low, high, 112, 10)(value) <= 112


@given(
    st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=20),
    st.floats(0, 10),
)
def test_any_history_of_a_guard_can_be_drawn(history: list[tuple[float | None, ...]], margin: float) -> None:
    cell = cells_of(1.0, {})[0].model_copy(update={"margin": margin})
    chart = guard_chart(Guard(cell, False, tuple(Point(at, *each) for at, each in enumerate(history))))
    if chart is not None:
        assert "nan" not in "".join((*chart.bands, *chart.lines))
        assert 10 <= chart.margin_y <= chart.zero_y <= 112


def test_what_decides_is_first() -> None:
    found = guards_of(look_of(0.9, {"rating / country=US / bias": 6.0, "click / overall / psi": 9.0}))
    assert (found[0].cell.name, found[0].culprit) == ("rating / country=US / bias", True)
    assert found[-1].cell.role == "display"
    deciding = [guard.cell.verdict for guard in found if guard.cell.role != "display"]
    order = ["violated", "error", "inconclusive", "satisfied"]
    assert deciding == sorted(deciding, key=order.index)


@pytest.mark.parametrize("phase", Phase)
def test_a_rollout_is_always_somewhere_on_its_line(phase: Phase) -> None:
    way = (Phase.LOADING, Phase.SHADOW)
    paused = Phase.SHADOW if phase is Phase.PAUSED else None
    states = [station.state for station in stations_of(view_in(phase, paused, *way))]
    if phase is Phase.DONE:
        assert "ahead" not in states
    elif phase in ENDS:
        assert states[-1] == "ended"
    elif phase is not Phase.PENDING:
        assert states.count("here") == 1


@pytest.mark.parametrize("phase", Phase)
def test_every_command_is_told_before_it_is_done(phase: Phase) -> None:
    for paused in (Phase.PREFLIGHT, Phase.CANARY, Phase.BAKE) if phase is Phase.PAUSED else (None,):
        view = view_in(phase, paused)
        for command in view.allowed:
            telling = tell(view, command)
            assert telling.title.endswith("?")
            assert telling.effects
            assert needs_reason(view, command) or command not in ("promote", "skip")
        operator = Visit(Caller(name="o", role="operator"), "", True)
        viewer = Visit(Caller(name="v", role="viewer"), "", True)
        assert not any(offer.refused for offer in offers(view, operator))
        assert all("you are viewer" in offer.refused for offer in offers(view, viewer))
        assert {offer.command for offer in offers(view, viewer)} == set(view.allowed)
