"""Whatever is killed or stopped: no answer waits, and what was recorded comes into the log or is counted."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.recorded import FrontDoor, at_work, ended, mark_in, rows_in, wait_for


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder of logs; no spool of it is left."""
    yield tmp_path
    wait_for(lambda: ended(tmp_path))


@pytest.fixture
def door(root: Path) -> Iterator[Callable[..., FrontDoor]]:
    running: list[FrontDoor] = []

    def started(name: str = "w") -> FrontDoor:
        running.append(FrontDoor(root, name))
        return running[-1]

    yield started
    for each in running:
        each.kill()


@pytest.mark.parametrize("seed", range(6))
def test_what_a_killed_front_door_recorded_is_in_the_log(root: Path, door: Any, seed: int) -> None:
    running = door(f"w{seed}")
    running.goes_on(1)
    time.sleep(random.Random(seed).random() * 0.6)  # before, while and after its spool starts
    taken = running.kill()
    wait_for(lambda: ended(root))
    found = rows_in(root)
    assert taken <= set(found)
    assert len(found) == len(set(found))
    assert len(found) <= len(taken) + 1  # the one that was taken but not yet told of
    mark = mark_in(root, f"w{seed}")
    assert mark is None or mark.ended


def test_what_a_killed_spool_had_not_written_its_successor_writes(root: Path, door: Any) -> None:
    running, pick = door(), random.Random(1)
    for _ in range(5):
        running.goes_on(300)
        victim = wait_for(lambda: at_work(root))[0]
        time.sleep(pick.random() * 0.2)
        victim.kill()
        wait_for(lambda pid=victim.pid: any(spool.pid != pid for spool in at_work(root)))
    running.goes_on(300)
    taken = running.kill()
    wait_for(lambda: ended(root))
    assert taken <= set(rows_in(root))
    mark = mark_in(root, "w")
    assert mark is not None
    assert mark.ended


def test_a_spool_that_hangs_holds_nothing_up_and_every_row_is_in_the_log_or_counted(root: Path, door: Any) -> None:
    running = door()
    running.goes_on(200)
    (spool,) = wait_for(lambda: at_work(root))
    wait_for(lambda: mark_in(root, "w"))
    spool.suspend()
    try:
        running.goes_on(1_500)  # about 700 kB: less than the memory, more than any pipe
        wait_for(running.is_quiet)  # it goes on, and nothing is taken any more
        assert running.process.poll() is None
        written = mark_in(root, "w")
        assert written is not None
        assert written.lost == {}  # what it has lost since stands in no mark yet
    finally:
        spool.resume()
    running.goes_on(100)
    taken = running.kill()
    wait_for(lambda: ended(root))
    found, mark = rows_in(root), mark_in(root, "w")
    assert mark is not None
    assert taken <= set(found)
    assert mark.lost["predictions"] > 0
    assert sum(mark.lost_by_minute.values()) == mark.lost["predictions"]
    assert max(found) + 1 >= len(found) + mark.lost["predictions"]  # nothing is both there and lost


def test_the_spool_is_nobodys_child(root: Path, door: Any) -> None:
    """Ray ends the children of a worker with it; and a signal to the group of a front door is not the spool's."""
    running = door()
    running.goes_on(50)
    (spool,) = wait_for(lambda: at_work(root))
    wait_for(lambda: spool.ppid() != running.process.pid)
    wait_for(lambda: rows_in(root))  # it has begun to work, and heeds signals
    os.kill(spool.pid, signal.SIGTERM)  # told to end, it still waits for its front door
    running.goes_on(200)
    assert spool.is_running()
    taken = running.kill()
    wait_for(lambda: ended(root))
    assert taken <= set(rows_in(root))
