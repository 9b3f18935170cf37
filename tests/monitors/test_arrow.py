"""Rows read as columns from Parquet are those that the frames say, field by field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.arrow import labels_of, predictions_of
from monitors.columns import Labels, Words
from monitors.predictions import Predictions
from serinus.archive_rows import DICTIONARIES, table_of
from serinus.records import LabelRow, PredictionRow, Score

WORD = st.sampled_from(["", "a", "b", "Köln", "x" * 40])
WHOLE = st.integers(-(2**62), 2**62)
IDENT = st.binary(min_size=16, max_size=16)
CLASSES = st.sampled_from([0, 0, 0, 2, 3]).map(lambda n: np.arange(n, dtype="<f4").tobytes())
SCORE = st.builds(Score, WORD, st.floats(), WHOLE, WORD, CLASSES)
PREDICTION = st.builds(
    PredictionRow,
    IDENT,
    WHOLE,
    st.sampled_from(["stable", "control", "canary", "shadow"]),
    WORD,
    WORD,
    WHOLE,
    st.lists(SCORE, max_size=4),
    st.dictionaries(st.sampled_from(["country", "device", "other"]), WORD, max_size=3),
    WHOLE,
)
LABEL = st.builds(LabelRow, IDENT, WHOLE, WORD, st.floats(), WHOLE)
SLICES = ("country", "absent", "device")


def same(found: object, wanted: object) -> None:
    for name in wanted.__dataclass_fields__:  # type: ignore[attr-defined]
        if name == "common":
            same(found.common, wanted.common)  # type: ignore[attr-defined]
            continue
        mine, theirs = getattr(found, name), getattr(wanted, name)
        assert mine.dtype == theirs.dtype, name
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


@settings(deadline=None)
@given(st.lists(PREDICTION, max_size=12), st.lists(LABEL, max_size=12), st.booleans(), st.integers(1, 5))
def test_columns_of_parquet_are_those_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[PredictionRow],
    labels: list[LabelRow],
    dictionaries: bool,
    size: int,
) -> None:
    """Words get their numbers in another order, so they are numbered beforehand."""
    path = tmp_path_factory.mktemp("arrow") / "rows.parquet"
    for kind, said in (("predictions", rows), ("labels", labels)):
        words = Words()
        for word in ("", "a", "b", "Köln", "x" * 40):
            words.number(word)
        wanted = Predictions.of(rows, words, SLICES) if kind == "predictions" else Labels.of(labels, words)
        pq.write_table(table_of(kind, said, [("w", at) for at in range(len(said))]), path, row_group_size=size)
        parts = []
        with pq.ParquetFile(path, read_dictionary=DICTIONARIES[kind] if dictionaries else []) as file:
            for at in range(file.num_row_groups):
                table = file.read_row_group(at)
                parts.append(predictions_of(table, words, SLICES) if kind == "predictions" else labels_of(table, words))
                cut = table.slice(1)  # offsets inside of arrays
                one = predictions_of(cut, words, SLICES) if kind == "predictions" else labels_of(cut, words)
                other = said[at * size + 1 : (at + 1) * size]
                same(one, Predictions.of(other, words, SLICES) if kind == "predictions" else Labels.of(other, words))
        same(Predictions.concat(parts, 3) if kind == "predictions" else Labels.concat(parts), wanted)


def test_older_files_have_no_classes_and_values_that_no_slice_names_get_no_number(tmp_path: Path) -> None:
    rows = [
        PredictionRow(bytes(16), at, "stable", "u", "r", 1, [Score("t", 0.5, 1)], {"id": f"user {at}"}, 1)
        for at in range(50)
    ]
    table = table_of("predictions", rows, [("w", at) for at in range(50)])
    scores = table.column("scores").combine_chunks()
    fields = scores.type.value_type
    kept = [at for at in range(fields.num_fields) if fields.field(at).name != "classes"]
    inner = pa.StructArray.from_arrays(
        [scores.values.field(at) for at in kept], fields=[fields.field(at) for at in kept]
    )
    old = table.set_column(
        table.schema.get_field_index("scores"), "scores", pa.ListArray.from_arrays(scores.offsets, inner)
    )
    words = Words()
    same(predictions_of(old, words, SLICES), Predictions.of(rows, words, SLICES))
    assert not any(word.startswith("user") for word in words.numbers)
