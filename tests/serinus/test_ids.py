"""Request ids carry their event time."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.ids import event_ms_of, uuid7

times = st.integers(0, (1 << 48) - 1)


@given(times, st.binary(min_size=10, max_size=10))
def test_an_id_gives_its_time_back(event_ms: int, random: bytes) -> None:
    made = uuid7(event_ms, random)
    assert event_ms_of(made) == event_ms_of(made.bytes) == event_ms
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert uuid.UUID(str(made)) == made


@given(times, times)
def test_ids_sort_as_their_times(a: int, b: int) -> None:
    if a < b:
        assert uuid7(a).bytes < uuid7(b).bytes


def test_the_example_of_rfc_9562() -> None:  # appendix A.6: 2022-02-22T14:22:22.00-05:00
    made = uuid7(0x017F22E279B0, bytes.fromhex("0cc3" + "18c4dc0c0c07398f"))
    assert str(made) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_random_bytes_make_ids_of_one_time_differ() -> None:
    assert len({uuid7(1) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize("wrong", [-1, 1 << 48])
def test_a_time_that_does_not_fit_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match="event_ms"):
        uuid7(wrong)


def test_an_id_of_another_version_carries_no_time() -> None:
    with pytest.raises(ValueError, match="not a UUIDv7"):
        event_ms_of(uuid.UUID("f81d4fae-7dec-41d0-a765-00a0c91e6bf6"))
