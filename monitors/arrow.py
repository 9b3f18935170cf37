"""Rows of Parquet files as columns, without an object for each row.

Words (tasks, arms, values of slices) lie in Parquet as dictionaries: each is looked up once a row group. An entity is
hashed once a row group. Whatever cannot be such rows raises ValueError, KeyError, TypeError, OverflowError or
ArrowException.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from monitors.columns import ARMS, Hashes, Ints, Labels, Words, entity_hashes
from monitors.predictions import NO_CLASSES, Common, Predictions, shares_of_bytes
from serinus.records import Kind

__all__ = ["columns_of", "labels_of", "predictions_of"]

_CLASSES = "scores.list.element.classes"
COLUMNS: dict[Kind, list[str] | None] = {
    "predictions": [
        *("id", "index", "arm", "entity", "entity_hash", "rollout"),
        *("scores", "slices", "latency_us", "share"),
    ],
    "labels": ["id", "index", "task", "value", "known_ms"],
    "inputs": None,
}
"""What is read of each kind; None: all. `entity` is not read where its hash is there."""


def predictions_of(table: Any, words: Words, slices: tuple[str, ...]) -> Predictions:
    """`table`: columns of COLUMNS; rows of any number."""
    offsets, score = _cut(table.column("scores"))
    times = np.diff(offsets)
    high, low = _halves(table.column("id"))
    arms, arm = _words(table.column("arm"))
    rollouts, rollout = _words(table.column("rollout"))
    fallbacks, fallback = _words(score["fallback"])
    common = Common(
        high,
        low,
        _ints(table.column("index")),
        np.array([ARMS.index(each) for each in arms], np.int64)[arm],
        _entities(table),
        _numbers(rollouts, words)[rollout],
        _slices(table.column("slices"), words, slices),
        _ints(table.column("latency_us")),
        _plain(table.column("share"), np.float64),
    )
    if not times.all():
        common, times = common.take(times > 0), times[times > 0]
    scores = int(times.sum())
    return Predictions(
        common,
        np.repeat(np.arange(len(times)), times),
        _numbered(score["task"], words),
        _ints(score["version"]),
        _plain(score["value"], np.float64),
        np.array([bool(each) for each in fallbacks], np.bool_)[fallback],
        *_classes(score.get("classes"), scores),
    )


def columns_of(kind: Kind, group: Any) -> list[str] | None:
    """What is to be read of a row group (its metadata), by the names of the leaves too; None: all.

    Left out: the entity's name where its hash is there; bytes of classes where they are all empty."""
    names = COLUMNS[kind]
    if kind != "predictions" or names is None:
        return names
    leaves = [group.column(at) for at in range(group.num_columns)]
    paths = {leaf.path_in_schema for leaf in leaves}
    spared = {"entity"} & paths if "entity_hash" in paths else set()
    said = next((leaf.statistics for leaf in leaves if leaf.path_in_schema == _CLASSES), None)
    if said is not None and said.has_min_max and said.max in (b"", ""):
        spared.add(_CLASSES)
    roots = set(names)
    return sorted(path for path in paths - spared if path.partition(".")[0] in roots)


def labels_of(table: Any, words: Words) -> Labels:
    """`table`: columns of COLUMNS."""
    high, low = _halves(table.column("id"))
    task, value = _numbered(table.column("task"), words), _plain(table.column("value"), np.float64)
    return Labels(high, low, _ints(table.column("index")), task, value, _ints(table.column("known_ms")))


def _halves(column: Any) -> tuple[Hashes, Hashes]:
    array = _whole(column)
    if array.type != pa.binary(16):
        raise TypeError(f"ids are {array.type}")
    both = np.frombuffer(array.buffers()[1], ">u8", 2 * len(array), 16 * array.offset).reshape(-1, 2)
    return both[:, 0].astype(np.uint64), both[:, 1].astype(np.uint64)


def _entities(table: Any) -> Hashes:
    if "entity_hash" in table.column_names:
        return _plain(table.column("entity_hash"), np.uint64)
    entities, entity = _words(table.column("entity"))
    return entity_hashes(entities)[entity]


def _whole(column: Any) -> Any:
    """A column as one array. Raises ValueError where it has nulls: no row of ours has."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if array.null_count:
        raise ValueError("there are nulls")
    return array


def _plain(column: Any, dtype: Any) -> NDArray[Any]:
    return np.asarray(_whole(column).to_numpy(zero_copy_only=False), dtype)


def _ints(column: Any) -> Ints:
    array = _whole(column)
    if array.type != pa.int64():
        raise TypeError(f"whole numbers are {array.type}")
    return np.asarray(array.to_numpy(), np.int64)


def _words(column: Any) -> tuple[list[str], Ints]:
    """The words that occur in a column, and the place of each entry's word among them."""
    array = _whole(column)
    if not pa.types.is_dictionary(array.type):
        array = pc.dictionary_encode(array)
    if array.dictionary.type != pa.string():
        raise TypeError(f"words are {array.dictionary.type}")
    return array.dictionary.to_pylist(), np.asarray(array.indices.to_numpy(zero_copy_only=False), np.int64)


def _numbers(known: list[str], words: Words) -> Ints:
    return np.array([words.number(each) for each in known], np.int64)


def _numbered(column: Any, words: Words) -> Ints:
    known, places = _words(column)
    return _numbers(known, words)[places]


def _cut(column: Any) -> tuple[Ints, dict[str, Any]]:
    """A column of lists of structs, or of maps: where each row's entries begin (one more than rows), and their fields,
    all rows' in one."""
    array = _whole(column)
    offsets = np.asarray(array.offsets.to_numpy(), np.int64)
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    if pa.types.is_map(array.type):
        return offsets - first, {"key": array.keys[first:last], "value": array.items[first:last]}
    inside = array.values[first:last]
    names = [inside.type.field(at).name for at in range(inside.type.num_fields)]
    return offsets - first, dict(zip(names, inside.flatten(), strict=True))


def _slices(column: Any, words: Words, slices: tuple[str, ...]) -> Ints:
    """The number of each row's word in each slice, shape (rows, slices); that of "" where the row has none."""
    offsets, pairs = _cut(column)
    rows = len(offsets) - 1
    chosen = np.full((rows, len(slices)), words.value(""), np.int64)
    if not slices or not len(pairs["key"]):
        return chosen
    keys, key = _words(pairs["key"])
    values, value = _words(pairs["value"])
    row = np.repeat(np.arange(rows), np.diff(offsets))
    for at, name in enumerate(slices):
        if name in keys:
            mine = np.flatnonzero(key == keys.index(name))
            met = np.unique(value[mine])  # other keys may have a million values, none of which needs a number
            numbers = np.zeros(len(values), np.int64)
            numbers[met] = [words.value(values[each]) for each in met.tolist()]
            chosen[row[mine], at] = numbers[value[mine]]
    return chosen


def _classes(column: Any, scores: int) -> tuple[Ints, NDArray[np.float32]]:
    """`classes` and `shares` of `Predictions`; older files have no such column."""
    if column is None or not scores or not pc.max(pc.binary_length(column)).as_py():
        return NO_CLASSES
    return shares_of_bytes(_whole(column).to_pylist())
