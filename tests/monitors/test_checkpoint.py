"""A restart changes nothing, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monitors.assess import Assessor
from monitors.checkpoint import load, save
from monitors.follower import Follower
from monitors.rows import Exposed, Tick
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


def test_a_checkpoint_holds_no_pickle_and_leaves_no_half_file(item: WorkItem, draw: Callable, tmp_path: Path) -> None:
    assessor = Assessor(item)
    for tick in ticks(item, draw, 8):
        assessor.consume(tick)
    save(assessor, tmp_path / "r1.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["r1.npz"]
    with np.load(tmp_path / "r1.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r1.npz").write_bytes(b"PK nothing")
    with pytest.raises((ValueError, OSError, KeyError)):
        load(tmp_path / "r1.npz")


@pytest.mark.parametrize("name", ["../r1", "", ".r1", "a/b"])
def test_a_rollout_cannot_name_a_file_elsewhere(item: WorkItem, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput):
        Follower.start(item.model_copy(update={"rollout": name}), tmp_path, tmp_path)
