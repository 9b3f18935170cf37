"""The cache forgets in time, stays within its bytes, and mistakes no input for another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.errors import BadInput
from serving.breaker import LONGEST_REST_NS, REST_NS, TRIPS_AFTER, Breaker
from serving.encoder_cache import EncoderCache, key_of
from serving.last_good import LastGood
from serving.settings import Settings

MS = 1_000_000


def some(value: float = 1.0, size: int = 4) -> tuple[Any, ...]:
    return (np.full((1, size), value, np.float32),)


def test_it_forgets_after_its_time() -> None:
    cache = EncoderCache(ttl_ms=100)
    cache.keep(("d", "p", 1), some(), 0)
    assert cache.get(("d", "p", 1), 99 * MS) is not None
    assert cache.get(("d", "p", 1), 100 * MS) is None
    cache.keep(("d", "p", 2), some(), 200 * MS)
    assert (cache.status()["entries"], cache.hits, cache.misses) == (1, 1, 1)


def test_the_least_recently_used_go_first_and_the_bytes_are_bounded() -> None:
    cache = EncoderCache(max_bytes=10_000)
    for at in range(9):
        cache.keep(("d", "p", at), some(size=100), 0)
        cache.get(("d", "p", 0), 0)
        assert cache.bytes <= 10_000
    cache.keep(("d", "p", 9), some(size=1_000), 0)
    assert cache.evicted > 0
    assert cache.get(("d", "p", 0), 0) is not None
    assert cache.get(("d", "p", 1), 0) is None
    cache.keep(("d", "p", 10), some(size=100_000), 0)  # larger than all: it does not stay
    assert cache.status()["bytes"] == cache.status()["entries"] == 0


def test_what_is_kept_cannot_be_written_to() -> None:
    cache = EncoderCache()
    cache.keep(("d",), some(), 0)
    found = cache.get(("d",), 0)
    assert found is not None
    with pytest.raises(ValueError, match="read-only"):
        found[0][0, 0] = 2


texts = st.lists(st.text(max_size=3), min_size=1, max_size=3)
inputs = st.fixed_dictionaries({"a": texts, "b": texts, "n": st.lists(st.integers(0, 2), min_size=1, max_size=3)})


@given(inputs, inputs)
def test_only_the_same_inputs_have_the_same_key(one: dict[str, Any], other: dict[str, Any]) -> None:
    def key(raw: dict[str, Any]) -> Any:
        arrays = {"a": np.array(raw["a"], object), "b": np.array(raw["b"], object), "n": np.float32(raw["n"])}
        return key_of("d", "p", ("a", "b", "n"), arrays)

    assert (key(one) == key(other)) == (one == other)


def test_the_order_of_memory_does_not_matter_but_the_shape_does() -> None:
    wide = np.arange(6, dtype=np.float32).reshape(2, 3)
    keys = [key_of("d", "p", ("n",), {"n": array}) for array in (wide, np.asfortranarray(wide), wide.reshape(3, 2))]
    assert keys[0] == keys[1] != keys[2]


def test_settings_bound_it() -> None:
    with pytest.raises(BadInput, match="SERINUS_CACHE_BYTES"):
        Settings.from_env({"SERINUS_CACHE_BYTES": "many"})
    settings = Settings.from_env({"SERINUS_CACHE_MS": "0", "SERINUS_CACHE_BYTES": "1000000000"})
    assert (settings.cache_ms, settings.cache_bytes) == (0, 1_000_000_000)
    cache = EncoderCache()
    cache.keep(("d",), some(), 0)
    cache.bound(settings.cache_bytes, settings.cache_ms)
    assert (cache.enabled, cache.status()["entries"]) == (False, 0)


def test_the_last_good_store_is_bounded_and_forgets_the_oldest() -> None:
    last = LastGood(max_numbers=2)
    for at, entity in enumerate(["a", "b", "a", "c"]):
        last.keep("click", entity, np.array([at / 8], np.float32))
    found = [last.get("click", entity) for entity in "abc"]
    assert [each if each is None else each.tolist() for each in found] == [[0.25], None, [0.375]]
    assert last.get("buy", "a") is None
    last.keep("origin", "a", np.array([[0.25, 0.75]], np.float32))
    assert (len(last), last.get("origin", "a").tolist()) == (1, [[0.25, 0.75]])  # as much as two numbers
    last.keep("origin", "a", np.array([[0.5, 0.25, 0.25]], np.float32))
    assert len(last) == 0


def test_a_breaker_rests_longer_each_time_a_probe_fails() -> None:
    breaker = Breaker()
    for _ in range(TRIPS_AFTER):
        assert breaker.closed
        breaker.failed(0)
    now = 0
    for rest in (1, 2, 4, 8, 16, 16):
        assert not breaker.wants_probe(now + rest * REST_NS - 1)
        now += rest * REST_NS
        assert breaker.wants_probe(now)
        assert not breaker.wants_probe(now)  # one is enough
        assert breaker.state == "half_open"
        breaker.probed(False, now)
    assert breaker.wants_probe(now + LONGEST_REST_NS)
    breaker.probed(True, now)
    assert (breaker.state, breaker.opened) == ("closed", 1)
    for _ in range(TRIPS_AFTER):
        breaker.failed(now)
        breaker.succeeded()
    assert breaker.closed  # only failures in a row count
