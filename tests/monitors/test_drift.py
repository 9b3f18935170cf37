"""Divergences against scipy, quantiles against numpy; what is written as a baseline is read back and is true."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.special import rel_entr

from monitors.drift import FLOOR, jensen_shannon, psi, quantiles, shares_of
from serinus.baseline import MAX_BASELINE_BYTES, Baseline
from serinus.errors import InvalidPackage
from serinus.tasks import InputSpec
from serinus.training.baseline import baseline_of

counts = st.lists(st.integers(1, 500), min_size=2, max_size=12)  # no share is below the floor


@given(st.data())
def test_divergences_are_scipys(data: st.DataObject) -> None:
    p = shares_of(data.draw(counts))
    q = shares_of(data.draw(st.lists(st.integers(1, 500), min_size=len(p), max_size=len(p))))
    assert min(p.min(), q.min()) > FLOOR
    assert psi(p, q) == pytest.approx(rel_entr(p, q).sum() + rel_entr(q, p).sum(), abs=1e-9)
    assert jensen_shannon(p, q) == pytest.approx(distance.jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    assert psi(p, q) == pytest.approx(psi(q, p))
    assert psi(p, p) == 0


def test_known_values() -> None:
    assert psi([0.5, 0.5], [0.4, 0.6]) == pytest.approx(0.1 * np.log(0.5 / 0.4) + 0.1 * np.log(0.6 / 0.5))
    assert jensen_shannon([1, 0], [0, 1]) == pytest.approx(1, abs=2e-3)  # but for the floor
    assert psi([1, 0], [0, 1]) < 20  # an empty bin is no infinite difference


def test_quantiles_of_counts_are_those_of_the_numbers() -> None:
    values = np.random.default_rng(1).normal(size=20_000)
    edges = np.quantile(values, np.arange(1, 64) / 64)
    counted = np.bincount(np.searchsorted(edges, values, side="right"), minlength=64)
    found = quantiles(counted, edges, values.min(), values.max(), [0.1, 0.5, 0.9])
    assert found == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]), abs=0.01)
    assert np.isnan(quantiles([0, 0], [1.0], 0, 2, [0.5])).all()


def test_a_baseline_says_what_the_rows_are() -> None:
    rng = np.random.default_rng(2)
    n = 3_000
    country = rng.choice(["BR", "DE"], n, p=[0.7, 0.3]).astype(object)
    price = np.where(rng.random(n) < 0.1, np.nan, np.where(country == "BR", 10.0, 20.0) + rng.normal(size=n))
    specs = [InputSpec(name="country", datatype="BYTES"), InputSpec(name="price", datatype="FP64", nullable=True)]
    y, p = (rng.random(n) < 0.3).astype(float), rng.random(n).astype(np.float32)
    event_ms = np.arange(n) * 600_000 // 3
    told = baseline_of(
        specs,
        {"country": country, "price": price},
        {"click": y},
        {"click": p},
        lambda _, labels, __: {"labels": len(labels), "positives": int(labels.sum()), "auc": 0.5},
        event_ms=event_ms,
    )
    found = Baseline.of_json(json.dumps(told).encode())
    everybody, brazil = found.input("price"), found.input("price", "country=BR")
    assert everybody is not None
    assert brazil is not None
    assert everybody.missing == pytest.approx(np.isnan(price).mean())
    assert (everybody.low, everybody.high) == (np.nanmin(price), np.nanmax(price))
    assert everybody.mean == pytest.approx(np.nanmean(price))
    assert everybody.numbers is not None
    assert brazil.numbers is not None
    assert brazil.numbers.edges == everybody.numbers.edges
    assert everybody.numbers.shares == pytest.approx([0.05] * 20, abs=0.01)
    assert everybody.spell_s == 0
    words = found.input("country")
    assert words is not None
    assert words.categories == pytest.approx({"BR": (country == "BR").mean(), "DE": (country == "DE").mean()})
    assert words.spell_s == words.span_s - 3_600  # type: ignore[operator]
    click = found.task("click", "country=DE")
    assert click is not None
    assert click.positives == y[country == "DE"].sum()
    assert click.scores is not None
    assert found.input("price", "country=FR") == everybody  # a place that is not told is as everybody
    assert found.task("click", "country=FR") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[" * 100_000, "not JSON"),
        (b" " * (MAX_BASELINE_BYTES + 1), "more than"),
        (b'{"format": 2}', "format"),
        (b'{"inputs": {"x": {"overall": {"rows": 1, "numbers": {"edges": [2, 1], "shares": [1, 0, 0]}}}}}', "rise"),
        (b'{"inputs": {"x": {"overall": {"rows": 1, "numbers": {"edges": [1], "shares": [1]}}}}}', "1 edges"),
        (b'{"inputs": {"x": {"overall": {"rows": 1, "categories": {"a": 0.5}}}}}', "sum to 0.5"),
        (b'{"inputs": {"x": {"overall": {"rows": -1}}}}', "rows"),
        (b'{"tasks": {"t": {"auc": 1e999}}}', "auc"),
    ],
)
def test_a_baseline_that_is_none_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(InvalidPackage, match=said):
        Baseline.of_json(text)


def test_a_package_of_before_is_read() -> None:
    found = Baseline.of_json(b'{"format": 1, "rows": 3, "tasks": {"click": {"auc": 0.7}}, "apart": {"click": 0.01}}')
    assert found.input("price") is None
    assert found.task("click") is not None
