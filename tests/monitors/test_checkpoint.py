"""A restart changes nothing, to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.assess import Assessor
from monitors.checkpoint import inputs_of, load, save
from monitors.follower import Follower
from monitors.recompute import recompute
from monitors.rows import Exposed, Tick
from monitors.statefile import pack, unpack
from serinus.errors import BadInput
from serinus.evidence import WorkItem

HOUR_MS, START = 3_600_000, 240 * 3_600_000


def ticks(item: WorkItem, draw: Callable[..., Tick], count: int) -> list[Tick]:
    rng, found = np.random.default_rng(8), []
    for at in range(1, count + 1):
        tick_ms = START + at * HOUR_MS
        shadow = draw(rng, tick_ms, item.sla.tasks, worse=0.5)
        canary = draw(rng, tick_ms, item.sla.tasks, stream="canary", n=20)
        user = rng.integers(0, 9, 40).astype(np.uint64)
        exposed = Exposed(user, rng.integers(0, 60, 40), user % 2 == 0, rng.random(40) < 0.2, np.zeros((40, 1), int))
        streams = {**shadow.streams, **canary.streams}
        found.append(Tick(tick_ms, streams, {"click": exposed}, {"rows": 3}, tick_ms - HOUR_MS, ("a.log",)))
    return found


@pytest.mark.parametrize("stop", [1, 3, 6, 20])
def test_evidence_goes_on_bit_by_bit_after_a_restart(item: WorkItem, draw: Callable, tmp_path: Path, stop: int) -> None:
    """Also when it stops before the bins are frozen (stop = 1, 3)."""
    through, stopped, all_ticks = Assessor(item), Assessor(item), ticks(item, draw, 40)
    expected = [through.consume(tick).digest for tick in all_ticks]
    found = [stopped.consume(tick).digest for tick in all_ticks[:stop]]
    save(stopped, tmp_path / "r1.npz")
    again = load(tmp_path / "r1.npz")
    assert again.last_tick_ms == all_ticks[stop - 1].tick_ms
    found += [again.consume(tick).digest for tick in all_ticks[stop:]]
    assert found == expected


def test_a_checkpoint_leaves_no_half_file_and_carries_the_input_checks(
    item: WorkItem, draw: Callable, tmp_path: Path
) -> None:
    assessor, beside = Assessor(item), {"a/b": np.arange(3.0)}
    for tick in ticks(item, draw, 8):
        assessor.consume(tick)
    save(assessor, tmp_path / "r1.npz", beside)
    assert [path.name for path in tmp_path.iterdir()] == ["r1.npz"]
    assert {name: array.tolist() for name, array in inputs_of(tmp_path / "r1.npz").items()} == {"a/b": [0, 1, 2]}


def test_a_damaged_checkpoint_is_refused(item: WorkItem, draw: Callable, tmp_path: Path) -> None:
    assessor, path = Assessor(item), tmp_path / "r1.npz"
    for tick in ticks(item, draw, 2):
        assessor.consume(tick)
    save(assessor, path)
    good = path.read_bytes()
    for bad in (b"", b"PK nothing", good[:-1], good[:5_000], good[:300] + b"?" + good[301:]):
        path.write_bytes(bad)
        with pytest.raises((ValueError, OSError, KeyError)):
            load(path)


def test_a_look_is_made_again_from_its_state_bit_by_bit(item: WorkItem, draw: Callable) -> None:
    assessor = Assessor(item)
    for at, tick in enumerate(ticks(item, draw, 30)):
        evidence = assessor.consume(tick)
        if at in (0, 4, 6, 29):
            state = assessor.state_bytes()
            assert hashlib.sha256(state).hexdigest() == evidence.state_digest
            assert recompute(item, state) == evidence
            with pytest.raises(ValueError, match="state"):
                recompute(item, state[: len(state) // 2])
            with pytest.raises(ValueError, match="of rollout"):
                recompute(item.model_copy(update={"rollout": "other"}), state)


def test_another_method_gives_an_error_in_words_and_is_no_state_of_this_one(item: WorkItem, draw: Callable) -> None:
    old = item.model_copy(update={"method": "1"})
    assessor, first = Assessor(old), ticks(item, draw, 1)[0]
    evidence = assessor.consume(first)
    assert (evidence.verdict, evidence.cells) == ("error", ())
    assert "began with method 1" in evidence.holds[0]
    with pytest.raises(ValueError, match="method 1"):
        recompute(item, assessor.state_bytes())


@settings(deadline=None, max_examples=50)
@given(arrays=st.dictionaries(st.text("ab/", max_size=3), st.lists(st.sampled_from([0, 0, 0, 0, 3]), max_size=900)))
def test_arrays_come_back_from_their_bytes(arrays: dict[str, list[int]]) -> None:
    made = {name: np.array(values, np.uint32) for name, values in arrays.items()}
    found = unpack(pack(made))
    assert {name: array.tolist() for name, array in found.items()} == arrays
    assert pack(found) == pack(dict(reversed(made.items())))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    for bad in (data, pack({"a": np.arange(600.0)})[: len(data)], pack({"a": np.arange(9.0)}) + b"x" + data):
        with pytest.raises(ValueError):  # noqa: PT011
            unpack(bad)


@pytest.mark.parametrize("name", ["../r1", "", ".r1", "a/b"])
def test_a_rollout_cannot_name_a_file_elsewhere(item: WorkItem, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput):
        Follower.start(item.model_copy(update={"rollout": name}), tmp_path, tmp_path)
