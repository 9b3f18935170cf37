"""Checks of raw inputs on synthetic traffic with daily cycles: silent when all is well, loud where something broke."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.gauges import Layout
from monitors.inputs import InputState
from monitors.references import Reference
from monitors.spells import KEPT, Distinct, unmoved_hours
from serinus.baseline import Baseline
from serinus.evidence import InputEvidence
from serinus.records import InputRow, InputTensor
from tests.monitors.traffic import COUNTRIES, HOUR_MS, T0, Raw, baseline, hour_of, reference, requests, sla_of, weather

H0 = T0 // HOUR_MS
Breakage = Callable[[Raw, int], Raw]


@pytest.fixture(scope="module")
def told() -> Baseline:
    return baseline(np.random.default_rng(0))


@pytest.fixture(scope="module")
def layout(told: Baseline) -> Layout:
    return Layout.of(sla_of(), (reference(told, 1), reference(told, 2)))


def run(layout: Layout, hours: int, broken: Breakage = lambda raw, _: raw, seed: int = 1, rows: int = 150) -> list[
    tuple[int, tuple[InputEvidence, ...]]
]:  # fmt: skip
    """(Hour from the start, what was found) at each hourly tick."""
    rng, state = np.random.default_rng(seed), InputState(layout)
    looks = []
    for at in range(hours):
        raw, event_ms = hour_of(rng, H0 + at, rows)
        looks.append((at, state.consume(requests(rng, broken(raw, at), event_ms), T0 + (at + 1) * HOUR_MS)))
    return looks


def first(looks: Iterable[tuple[int, tuple[InputEvidence, ...]]], name: str, check: str, where: str = "") -> int | None:
    """The hour at which a check first held."""
    held = (
        at
        for at, found in looks
        for each in found
        if each.holds and (each.input, each.check) == (name, check) and where in ("", each.slice)
    )
    return next(held, None)


def test_a_healthy_week_is_silent(layout: Layout) -> None:
    looks = run(layout, 24 * 7)
    assert [each for _, found in looks for each in found if each.holds] == []
    assert {each.input for each in looks[-1][1]} == {"country", "device", "temperature", "price", "minute"}


def test_a_stale_feed_is_caught_within_hours(layout: Layout) -> None:
    def stale(raw: Raw, at: int) -> Raw:
        if at < 30:
            return raw
        place = np.array([COUNTRIES.index(word) for word in raw["country"].tolist()])
        return {**raw, "temperature": np.array([weather(H0 + 30, c) for c in range(3)], np.float32)[place]}

    looks = run(layout, 48, stale)
    caught = first(looks, "temperature", "stale", "overall")
    assert caught == 33  # the feed stands since hour 30: three hours unmoved, the limit learnt from the baseline
    (found,) = [each for each in looks[40][1] if each.check == "stale" and each.slice == "overall"]
    assert found.since_ms == (H0 + 30) * HOUR_MS
    assert {each.input for _, seen in looks for each in seen if each.holds} == {"temperature"}


def test_a_wrong_join_is_caught_where_everybody_together_looks_well(layout: Layout) -> None:
    def crossed(raw: Raw, at: int) -> Raw:
        return raw if at < 24 else {**raw, "price": np.random.default_rng(at).permutation(raw["price"])}

    looks = run(layout, 48, crossed)
    sliced = first(looks, "price", "distribution", "country=BR")
    assert sliced is not None
    assert sliced < 36
    assert first(looks, "price", "distribution", "overall") is None


def test_a_join_that_finds_nothing_and_new_words_are_caught_at_once(layout: Layout) -> None:
    def lost(raw: Raw, at: int) -> Raw:
        if at < 20:
            return raw
        device = raw["device"].copy()
        device[::10] = ""
        country = np.array([word.lower() for word in raw["country"].tolist()], object)
        return {**raw, "device": device, "country": country, "price": raw["price"] * 100}

    looks = run(layout, 26, lost)
    assert 20 <= (first(looks, "device", "missing") or 0) <= 24
    assert 20 <= (first(looks, "country", "unseen") or 0) <= 21
    assert 20 <= (first(looks, "price", "out_of_range") or 0) <= 21
    assert {each.version for each in looks[-1][1] if each.check == "unknown" and each.holds} == {1, 2}


def test_a_version_whose_vocabulary_lacks_a_word_is_named(told: Baseline) -> None:
    old, new = reference(told, 1), reference(told, 2, country=frozenset({"BR", "DE"}))
    rest = Baseline.model_validate(told.model_dump() | {"inputs": {}})
    new = Reference(2, "d2", rest, new.words)  # it told nothing of its own rows
    looks = run(Layout.of(sla_of(), (old, new)), 12)
    found = [each for each in looks[-1][1] if each.holds]
    assert {(each.input, each.check, each.version) for each in found} == {("country", "unknown", 2)}


def test_a_handful_of_requests_or_one_user_never_holds(layout: Layout) -> None:
    rng = np.random.default_rng(3)
    raw, event_ms = hour_of(rng, H0, 2_000)
    bad = {**raw, "country": np.full(len(event_ms), "??", object)}
    few = InputState(layout).consume(requests(rng, bad, event_ms)[:400], T0 + HOUR_MS)
    one = InputState(layout).consume(requests(rng, bad, event_ms, users=1), T0 + HOUR_MS)
    many = InputState(layout).consume(requests(rng, bad, event_ms), T0 + HOUR_MS)
    assert [any(each.holds for each in found) for found in (few, one, many)] == [False, False, True]


def test_a_display_role_shows_and_does_not_hold(told: Baseline) -> None:
    sla = sla_of(inputs={"country": {"role": "display"}, "price": {"out_of_range": None}})

    def bad(raw: Raw, _: int) -> Raw:
        return {**raw, "country": np.full(len(raw["country"]), "??", object), "price": raw["price"] * 1e6}

    found = run(Layout.of(sla, (reference(told),)), 12, bad)[-1][1]
    assert [each for each in found if each.holds] == []
    assert any(each.check == "unseen" and each.value == 1 for each in found)
    assert all(each.check != "out_of_range" for each in found if each.input == "price")


def test_a_package_without_a_baseline_says_so_and_holds_nothing() -> None:
    found = run(Layout.of(sla_of(inputs={"price": {}}), (Reference(7),)), 3)[-1][1]
    (price,) = found
    assert (price.input, price.holds) == ("price", False)
    assert "version 7 tells nothing" in price.why


def test_odd_rows_are_counted_and_never_crash(layout: Layout) -> None:
    rng = np.random.default_rng(4)
    raw, event_ms = hour_of(rng, H0, 100)
    rows = requests(rng, raw, event_ms)
    odd = [
        [],
        [InputTensor("price", "FP64", [1], b"1234")],
        [InputTensor("price", "FP64", [9], b"12345678" * 9)],
        [InputTensor("price", "BYTES", [1], ["ten"])],
        [InputTensor("country", "FP32", [1], np.float32(1).tobytes())],
        [InputTensor("price", "FP64", [1, 2], np.zeros(2).tobytes())],
        [InputTensor("price", "FP64", [1], np.array([np.inf]).tobytes())],
        [InputTensor("country", "BYTES", [1], ["x" * 10_000])],
    ]
    broken = [InputRow(rows[at].id, "u", 1, tensors) for at, tensors in enumerate(odd)]
    state = InputState(layout)
    state.consume(broken, T0 + HOUR_MS)
    assert state.unreadable == 3
    assert int(state.hours[H0][0, layout.gauges[0].base]) == 5


def equal(a: InputState, b: InputState) -> bool:
    mine, theirs = a.state(), b.state()
    return mine.keys() == theirs.keys() and all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 5))
def test_order_doubles_and_parts_change_nothing(random: object, parts: int) -> None:
    told = baseline(np.random.default_rng(0), days=3, rows=60)
    layout = Layout.of(sla_of(), (reference(told),))
    rng = np.random.default_rng(5)
    rows = [row for at in range(3) for row in requests(rng, *hour_of(rng, H0 + at, 60))]
    whole = InputState(layout)
    whole.add(rows)
    mixed = [*rows, *rows[:20]]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    again = InputState(layout)
    again.add(mixed)
    assert equal(whole, again)
    cut: list[list[InputRow]] = [[] for _ in range(parts)]
    for row in rows:
        cut[random.randrange(parts)].append(row)  # type: ignore[attr-defined]
    merged = InputState(layout)
    for each in cut:
        part = InputState(layout)
        part.add(each)
        merged = merged.merge(part)
    assert equal(whole, merged)
    assert whole.consume([], T0 + 4 * HOUR_MS) == merged.consume([], T0 + 4 * HOUR_MS)


def test_a_restart_goes_on_bit_by_bit(layout: Layout) -> None:
    rng = np.random.default_rng(6)
    hours = [requests(rng, *hour_of(rng, H0 + at, 80)) for at in range(40)]
    straight, stopped = InputState(layout), InputState(layout)
    for at, rows in enumerate(hours):
        tick_ms = T0 + (at + 1) * HOUR_MS
        found = straight.consume(rows, tick_ms)
        stopped = InputState.of_state(layout, stopped.state())
        assert stopped.consume(rows, tick_ms) == found
    assert equal(straight, stopped)
    assert len(straight.hours) == 24
    other = Layout.of(sla_of(inputs={"price": {"psi": 0.5}}), layout.references)
    with pytest.raises(ValueError, match="other limits"):
        InputState.of_state(other, straight.state())


@given(st.lists(st.lists(st.integers(0, 200), max_size=300), min_size=1, max_size=4))
def test_a_sample_of_values_merges_exactly(parts: list[list[int]]) -> None:
    scrambled = [np.array(part, np.uint64) * np.uint64(0x9E3779B97F4A7C15) for part in parts]
    merged = Distinct.of(scrambled[0])
    for part in scrambled[1:]:
        merged = merged.merge(Distinct.of(part))
    whole = Distinct.of(np.concatenate(scrambled))
    assert merged.hashes.tolist() == whole.hashes.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()
    assert len(whole.hashes) <= KEPT


def test_how_long_values_stand_still() -> None:
    def of(*words: int) -> Distinct:
        return Distinct.of(np.array(words, np.uint64))

    assert unmoved_hours([1, 2, 3], [of(1, 2), of(1, 2), of(1, 2)]) == (2, 1.0)
    assert unmoved_hours([1, 2, 3], [of(1, 2), of(3, 4), of(1, 2)])[0] == 0  # it went and came back
    assert unmoved_hours([1, 5], [of(1), of(1, 1, 2)])[0] == 4  # nights without a row are no change
    assert unmoved_hours([1, 2], [of(1), of(1, 2)])[0] == 0  # just half
