"""Keys numbered and rows ordered as a full sort would, whatever comes in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.keys import matched, numbered, ordered

SMALL = st.integers(0, 3)


@settings(deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL, SMALL), max_size=40))
def test_numbers_are_those_of_a_full_sort(rows: list[tuple[int, int, int]]) -> None:
    high, low, index = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    count, number = numbered(high.astype(np.uint64) << np.uint64(62), low.astype(np.uint64), index)
    distinct = sorted(set(rows))
    assert count == len(distinct)
    assert number.tolist() == [distinct.index(row) for row in rows]


@settings(deadline=None)
@given(st.lists(st.tuples(SMALL, SMALL, SMALL), max_size=40), st.randoms())
def test_rows_are_in_full_order_where_it_matters(rows: list[tuple[int, int, int]], pick: object) -> None:
    """key, version, content: the first of each key and version is the same as after sorting all of it."""
    key, version, content = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    at = np.flatnonzero(content >= 0)
    found = ordered(at, key, lambda r: version[r][1:] == version[r][:-1], lambda r: [content[r]])
    assert sorted(found.tolist()) == at.tolist()
    assert (np.diff(key[found]) >= 0).all()
    for wanted in set(zip(key.tolist(), version.tolist(), strict=True)):
        mine = [content[row] for row in found if (key[row], version[row]) == wanted]
        assert mine[0] == min(content[(key == wanted[0]) & (version == wanted[1])])


@settings(deadline=None)
@given(st.sets(SMALL), st.sets(SMALL))
def test_matched_rows_have_one_key(first: set[int], second: set[int]) -> None:
    keys = [*first, *second]
    key, a = np.array(keys, np.int64), np.arange(len(first))
    one, other = matched(a, np.arange(len(first), len(keys)), key, 4)
    assert key[one].tolist() == key[other].tolist()
    assert set(key[one].tolist()) == first & second
