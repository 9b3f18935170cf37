"""The preprocess graph against a naive twin in numpy, whatever the rows: NaN, infinities, unknown and empty texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.errors import BadInput
from serinus.training import Category, Cyclic, Derived, Feature, InputSpec, Lookup, Number, Preprocess, learn

INPUTS = [
    InputSpec(name="price", datatype="FP32", nullable=True),
    InputSpec(name="wide", datatype="FP64", nullable=True, required=False),
    InputSpec(name="count", datatype="INT64"),
    InputSpec(name="flag", datatype="BOOL"),
    InputSpec(name="airport", datatype="BYTES", nullable=True),
    InputSpec(name="carrier", datatype="BYTES", nullable=True, required=False),
]
OFFSETS = {"JFK": -300.0, "LAX": -480.0, "Zürich": 60.0}
LOCAL = Derived(["count", Lookup("airport", OFFSETS, default=15.0)], period=1440)
FEATURES: list[Feature] = [
    Number("price"),
    Number("wide", log=True, clip=(-50, 1e6)),
    Number("flag"),
    Number(Lookup("airport", OFFSETS, default=math.nan)),
    Number(Derived(["price", "wide"], weights=[2, -1])),
    Number(LOCAL, clip=(0, 1000)),
    Cyclic(LOCAL, period=1440),
    Cyclic("price", period=7),
    Category("airport", vocabulary=("JFK", "LAX", "", "LAX")),
    Category("carrier", min_count=2),
]

numbers32 = st.floats(width=32)
words = st.sampled_from(["JFK", "LAX", "Zürich", "", "AA", "ZZ"]) | st.text(max_size=4)
rows = st.lists(
    st.tuples(numbers32, st.floats(), st.integers(-(10**6), 10**6), st.booleans(), words, words),
    min_size=1,
    max_size=12,
)


def _raw(some: list[tuple[Any, ...]]) -> dict[str, np.ndarray[Any, Any]]:
    price, wide, count, flag, airport, carrier = zip(*some, strict=True)
    return {
        "price": np.array(price, np.float32),
        "wide": np.array(wide, np.float64),
        "count": np.array(count, np.int64),
        "flag": np.array(flag, np.bool_),
        "airport": np.array(airport, object),
        "carrier": np.array(carrier, object),
    }


def _sources(row: dict[str, Any]) -> list[float]:
    """The six numbers of FEATURES, as doubles."""
    price, wide = float(row["price"]), float(row["wide"])
    with np.errstate(invalid="ignore", over="ignore"):
        mixed = float(np.float64(2 * price) - np.float64(wide))
    return [price, wide, float(row["flag"]), OFFSETS.get(row["airport"], math.nan), mixed, _minute(row)]


def _minute(row: dict[str, Any]) -> float:
    return (int(row["count"]) + OFFSETS.get(row["airport"], 15.0)) % 1440


def _shaped(at: int, value: float) -> float:
    if at == 1:
        value = min(max(value, -50), 1e6)
        return math.copysign(math.log1p(abs(value)), value)
    return min(max(value, 0), 1000) if at == 5 else value


def _rows(raw: dict[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    return [dict(zip(raw, values, strict=True)) for values in zip(*raw.values(), strict=True)]


def _twin(
    seen: dict[str, np.ndarray[Any, Any]], raw: dict[str, np.ndarray[Any, Any]]
) -> tuple[list[list[float]], list[list[int]]]:
    """Row by row, in plain Python, from the docstrings of the features."""
    columns = list(zip(*[_sources(row) for row in _rows(seen)], strict=True))
    moments, gaps = [], []
    for at, column in enumerate(columns):
        known = [v for v in (_shaped(at, v) for v in column if not math.isnan(v)) if abs(v) < 1e30]
        mean = math.fsum(known) / len(known) if known else 0.0
        deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in known) / len(known)) if known else 0.0
        moments.append((mean, deviation if deviation > 1e-9 * (1 + abs(mean)) else 1.0))
        gaps.append(any(math.isnan(v) for v in column))
    carriers = seen["carrier"].tolist()
    learnt = sorted({c for c in carriers if c and carriers.count(c) >= 2}, key=lambda c: (-carriers.count(c), c))
    numbers, categories = [], []
    for row in _rows(raw):
        source = _sources(row)
        line = []
        for at, value in enumerate(source):
            mean, deviation = moments[at]
            standard = 0.0 if math.isnan(value) else (_shaped(at, value) - mean) / deviation
            line.append(min(max(standard, -10.0), 10.0))
        line += [float(math.isnan(value)) for value, gap in zip(source, gaps, strict=True) if gap]
        angles = [source[5] / 1440, source[0] / 7]
        fine = [math.isfinite(angle) for angle in angles]
        line += [math.sin(2 * math.pi * a) if ok else 0.0 for a, ok in zip(angles, fine, strict=True)]
        line += [math.cos(2 * math.pi * a) if ok else 0.0 for a, ok in zip(angles, fine, strict=True)]
        numbers.append(line)
        categories.append([_place(row["airport"], ["JFK", "LAX"]), _place(row["carrier"], learnt)])
    return numbers, categories


def _place(word: str, vocabulary: list[str]) -> int:
    if not word:
        return 1
    return vocabulary.index(word) + 2 if word in vocabulary else 0


def _tame(raw: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """Sines of huge angles differ between libraries: keep what is compared below 10,000 turns, and the odd ones."""
    price = raw["price"]
    return raw | {"price": np.where(np.isfinite(price), np.clip(price, -7e4, 7e4), price).astype(np.float32)}


@settings(deadline=None)
@given(rows, rows)
def test_the_graph_is_what_the_features_say(train: list[Any], served: list[Any]) -> None:
    seen, raw = _tame(_raw(train)), _tame(_raw(served))
    numbers, categories = learn(FEATURES, INPUTS, seen)(raw)
    expected_numbers, expected_categories = _twin(seen, raw)
    assert (str(numbers.dtype), str(categories.dtype)) == ("float32", "int64")
    np.testing.assert_allclose(numbers, np.array(expected_numbers), rtol=2e-4, atol=2e-4)
    assert categories.tolist() == expected_categories


@settings(deadline=None)
@given(rows, rows)
def test_no_row_gives_anything_that_is_not_a_number(train: list[Any], served: list[Any]) -> None:
    learnt = learn(FEATURES, INPUTS, _raw(train))
    numbers, categories = learnt(_raw(served))
    assert numbers.shape == (len(served), learnt.width)
    assert np.isfinite(numbers).all()
    assert (categories >= 0).all()
    assert (categories < np.array(learnt.cardinalities)).all()


@pytest.fixture
def some() -> Preprocess:
    raw = _raw([(1.0, 2.0, 3, True, "JFK", "AA"), (math.nan, 4.0, 5, False, "", "AA")])
    return learn(FEATURES, INPUTS, raw)


def test_the_graph_is_the_one_that_is_shipped(some: Preprocess) -> None:
    model = onnx.load_from_string(some.model)
    assert [value.name for value in model.graph.input] == list(some.reads)
    assert [value.name for value in model.graph.output] == list(some.outputs)
    assert {opset.domain for opset in model.opset_import} == {"", "ai.onnx.ml"}


def test_rows_do_not_look_at_each_other(some: Preprocess) -> None:
    raw = _raw(
        [(1.0, 2.0, 3, True, "JFK", "AA"), (math.nan, 4.0, 5, False, "?", ""), (9.0, math.inf, 0, True, "", "AA")]
    )
    numbers, categories = some(raw)
    for at in range(3):
        one = some({name: column[at : at + 1] for name, column in raw.items()})
        assert one[0].tolist() == numbers[at : at + 1].tolist()
        assert one[1].tolist() == categories[at : at + 1].tolist()


def test_an_optional_input_left_out_is_a_missing_one(some: Preprocess) -> None:
    raw = _raw([(1.0, math.nan, 3, True, "JFK", "")])
    without = {name: column for name, column in raw.items() if name not in {"wide", "carrier"}}
    assert some(without)[0].tolist() == some(raw)[0].tolist()
    assert some(without)[1].tolist() == some(raw)[1].tolist()


def test_a_required_input_left_out_is_an_error(some: Preprocess) -> None:
    raw = _raw([(1.0, math.nan, 3, True, "JFK", "")])
    del raw["count"]
    with pytest.raises(BadInput, match="'count'"):
        some(raw)


def test_inputs_that_no_feature_reads_are_declared_but_not_required() -> None:
    raw = _raw([(1.0, 2.0, 3, True, "JFK", "AA")])
    learnt = learn([Number("price")], INPUTS, raw)
    assert learnt.reads == ("price",)
    assert {spec.name: spec.required for spec in learnt.inputs} == {
        name: name == "price" for name in ("price", "wide", "count", "flag", "airport", "carrier")
    }
    assert learnt.outputs == ("preprocess.numbers",)
    assert learnt({"price": raw["price"]})[1].shape == (1, 0)


def test_categories_alone_are_enough() -> None:
    raw = _raw([(1.0, 2.0, 3, True, "JFK", "AA")])
    learnt = learn([Category("airport", min_count=1)], INPUTS, raw)
    assert (learnt.width, learnt.cardinalities) == (0, (3,))
    numbers, categories = learnt({"airport": raw["airport"]})
    assert (numbers.shape, categories.tolist()) == ((1, 0), [[2]])


def test_a_vocabulary_keeps_the_most_frequent() -> None:
    words = ["a"] * 5 + ["b"] * 9 + ["c"] * 2 + [""] * 20
    learnt = learn([Category("airport", min_count=2, limit=2)], INPUTS, {"airport": np.array(words, object)})
    indices = learnt({"airport": np.array(["b", "a", "c", "", "new"], object)})[1]
    assert indices[:, 0].tolist() == [2, 3, 0, 1, 0]


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ([], "at least one feature"),
        ([Number("speed")], "'speed', which is not one of the inputs"),
        ([Number("airport")], "'airport' is BYTES, but a feature reads it as a number"),
        ([Category("price")], "'price' is FP32, but a feature reads it as text"),
        ([Cyclic(Lookup("count", {"a": 1.0}), 7)], "'count' is INT64, but a feature reads it as text"),
        ([Feature()], "none of Number"),
    ],
)
def test_a_wrong_declaration_is_named(features: list[Feature], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        learn(features, INPUTS, _raw([(1.0, 2.0, 3, True, "JFK", "AA")]))


def test_a_whole_number_cannot_be_missing() -> None:
    inputs = [InputSpec(name="count", datatype="INT64", nullable=True)]
    with pytest.raises(ValueError, match="cannot be missing"):
        learn([Number("count")], inputs, {"count": np.arange(3)})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Lookup("a", {}),
        lambda: Derived([]),
        lambda: Derived(["a"], weights=[1, 2]),
        lambda: Derived(["a"], period=0),
        lambda: Number("a", clip=(2, 1)),
        lambda: Cyclic("a", period=-1),
    ],
)
def test_a_feature_that_makes_no_sense_cannot_be_made(make: Any) -> None:
    with pytest.raises(ValueError, match=r"empty|needs|weights|period|clip"):
        make()
