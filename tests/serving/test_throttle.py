"""Shadow traffic is bounded in rows a second, in its share of a CPU, and gives way to everybody."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.marks import Marks
from serving.shadowing import ShadowQueue
from serving.throttle import Throttle, TokenBucket


def test_a_bucket_gives_its_rate_in_the_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("serving.throttle.time.monotonic", lambda: clock[0])
    bucket = TokenBucket(50)
    taken = 0
    for _tick in range(10_000):  # 10 s at 1,000 a second
        taken += bucket.take(1)
        clock[0] += 0.001
    assert taken == pytest.approx(50 + 10 * 50, abs=2)
    clock[0] += 60
    assert bucket.take(500)  # larger than a second's worth: once, then not for as long
    clock[0] += 8.9
    assert not bucket.take(1)
    clock[0] += 0.2
    assert bucket.take(1)


def test_what_the_rate_limit_keeps_out_is_not_counted_as_lost(tmp_path: Path) -> None:
    async def never(_batch: object) -> int:
        raise AssertionError

    marks = Marks(tmp_path, "w", 1.0)
    limited = ShadowQueue(never, marks, 10, rps=5)
    admitted = sum(limited.admits("m", 1) for _ in range(100))
    assert 5 <= admitted < 100
    assert limited.limited == 100 - admitted
    assert dict(marks.of("m").lost) == {"shadow_limited": 100 - admitted}
    assert all(ShadowQueue(never, marks, 10).admits("m", 1) for _ in range(100))


def test_work_takes_no_more_than_its_share_of_a_cpu() -> None:
    async def story() -> float:
        throttle = Throttle(0.25)

        async def work() -> None:
            async with throttle:
                until = time.thread_time() + 0.02
                while time.thread_time() < until:
                    pass

        cpu_s, wall_s = time.thread_time(), time.monotonic()
        await asyncio.gather(*(work() for _ in range(10)))
        async with throttle:  # the last pause is over
            pass
        return (time.thread_time() - cpu_s) / (time.monotonic() - wall_s)

    assert asyncio.run(story()) <= 0.27


def test_every_thread_of_the_process_yields_the_cpu() -> None:
    code = """
import os, threading, time
from serving.throttle import yield_the_cpu
stop = threading.Event()
threading.Thread(target=stop.wait).start()
yield_the_cpu()
threading.Thread(target=stop.wait).start()
print({os.sched_getscheduler(int(t)) or os.getpriority(os.PRIO_PROCESS, int(t)) for t in os.listdir("/proc/self/task")})
stop.set()
"""
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=env, check=True, text=True, timeout=60
    )
    assert found.stdout.strip() in (f"{{{os.SCHED_IDLE}}}", "{19}")
